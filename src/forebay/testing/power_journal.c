/* Keeps a journal of all that a process does to the files below POWER_FOLDER: what was written, cut, synced, made,
   renamed and removed, in order, with the monotonic time. Loaded by LD_PRELOAD; read by forebay.testing.power_cut. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct record { uint64_t at_ns; int64_t offset; uint32_t path_bytes, data_bytes; char kind; char pad[7]; };

static int journal = -1;
static char folder[4096];
static size_t folder_bytes;

__attribute__((constructor)) static void begin(void) {
  const char *named = getenv("POWER_FOLDER"), *file = getenv("POWER_JOURNAL");
  if (!named || !file || !realpath(named, folder)) return;
  folder_bytes = strlen(folder);
  journal = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int is_ours(const char *path) {
  size_t bytes = strlen(path);
  if (strncmp(path, folder, folder_bytes) || (path[folder_bytes] != '/' && path[folder_bytes])) return 0;
  return bytes < 4 || strcmp(path + bytes - 4, "-shm");
}

static int path_of(int file, char *path) {
  struct stat about;
  char link[64];
  if (journal < 0 || file == journal || fstat(file, &about) || !(S_ISREG(about.st_mode) || S_ISDIR(about.st_mode)))
    return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t bytes = readlink(link, path, 4095);
  if (bytes <= 0) return 0;
  path[bytes] = 0;
  return is_ours(path);
}

static int full_path(const char *path, char *full) {
  char copy[4096], *slash, *parent = ".";
  if (journal < 0 || strlen(path) > 2048) return 0;
  strcpy(copy, path);
  slash = strrchr(copy, '/');
  if (slash) { *slash = 0; parent = slash == copy ? "/" : copy; }
  if (!realpath(parent, full)) return 0;
  strcat(full, "/");
  strcat(full, slash ? slash + 1 : path);
  return is_ours(full);
}

static void keep(char kind, const char *path, int64_t offset, const void *data, size_t bytes) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  struct record record = {(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, offset, (uint32_t)strlen(path),
                          (uint32_t)bytes, kind, {0}};
  struct iovec parts[3] = {{&record, sizeof record}, {(void *)path, strlen(path)}, {(void *)data, bytes}};
  if (syscall(SYS_writev, journal, parts, 3) < 0) abort();
}

#define REAL(name, ...)                                                                        \
  typedef __typeof__(__VA_ARGS__) call;                                                        \
  static call real;                                                                            \
  if (!real) real = (call)dlsym(RTLD_NEXT, name)

#define PWRITE(NAME, OFFSET)                                                                   \
  ssize_t NAME(int file, const void *data, size_t bytes, OFFSET offset) {                      \
    REAL(#NAME, ssize_t(*)(int, const void *, size_t, OFFSET));                                \
    char path[4096];                                                                           \
    if (path_of(file, path)) keep('W', path, offset, data, bytes);                             \
    return real(file, data, bytes, offset);                                                    \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int file, const void *data, size_t bytes) {
  REAL("write", ssize_t(*)(int, const void *, size_t));
  char path[4096];
  if (path_of(file, path)) keep('W', path, lseek(file, 0, SEEK_CUR), data, bytes);
  return real(file, data, bytes);
}

#define TRUNCATE(NAME, OFFSET)                                                                 \
  int NAME(int file, OFFSET bytes) {                                                           \
    REAL(#NAME, int(*)(int, OFFSET));                                                          \
    char path[4096];                                                                           \
    if (path_of(file, path)) keep('T', path, bytes, "", 0);                                    \
    return real(file, bytes);                                                                  \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(NAME)                                                                             \
  int NAME(int file) {                                                                         \
    REAL(#NAME, int(*)(int));                                                                  \
    char path[4096];                                                                           \
    int failed = real(file);                                                                   \
    if (!failed && path_of(file, path)) keep('S', path, 0, "", 0);                             \
    return failed;                                                                             \
  }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
  REAL("rename", int(*)(const char *, const char *));
  char one[4096], other[4096];
  int is_known = full_path(from, one) && full_path(to, other);
  int failed = real(from, to);
  if (!failed && is_known) keep('R', one, 0, other, strlen(other));
  return failed;
}

int link(const char *from, const char *to) {
  REAL("link", int(*)(const char *, const char *));
  char one[4096], other[4096];
  int is_known = full_path(from, one) && full_path(to, other);
  int failed = real(from, to);
  if (!failed && is_known) keep('L', one, 0, other, strlen(other));
  return failed;
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  REAL("linkat", int(*)(int, const char *, int, const char *, int));
  char one[4096], other[4096];
  int is_known = full_path(from, one) && full_path(to, other);
  int failed = real(from_folder, from, to_folder, to, flags);
  if (!failed && is_known) keep('L', one, 0, other, strlen(other));
  return failed;
}

int unlink(const char *path) {
  REAL("unlink", int(*)(const char *));
  char full[4096];
  int is_known = full_path(path, full);
  int failed = real(path);
  if (!failed && is_known) keep('U', full, 0, "", 0);
  return failed;
}
