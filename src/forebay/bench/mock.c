/* A model that is never the limit: HTTP/1.1 with kept connections on one epoll loop, one fixed answer after one fixed
 * latency. `forebay bench` compiles it at the moment: cc -O2 mock.c -o mock && ./mock LATENCY_MICROSECONDS
 * It prints where it listens and ends with its parent. Since every call waits equally long, what waits is a queue. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 512, FIRST_BYTES = 4096, MOST_BYTES = 64 << 20 };

static const char BODY[] =
    "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1760000000,\"model\":\"mock\",\"choices\":"
    "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The answer of a model that costs nothing.\","
    "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":200,"
    "\"completion_tokens\":10,\"total_tokens\":210,\"prompt_tokens_details\":{\"cached_tokens\":0},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":0}},\"system_fingerprint\":\"bench\"}";

typedef struct Connection Connection;
struct Connection {
    int socket;
    bool is_waiting; /* for its answer: it stands in the queue, and is freed when its turn has come */
    bool is_gone;
    char *bytes;
    size_t length, capacity;
    long long due; /* nanoseconds */
    Connection *next;
};

static Connection *first, *last;
static unsigned long long answered;

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* How many bytes the first request in the buffer has; 0 while it is incomplete, -1 if it can't be read. */
static long request_length(const Connection *c) {
    const char *end = memmem(c->bytes, c->length, "\r\n\r\n", 4);
    if (!end)
        return 0;
    long head = end - c->bytes + 4, body = 0;
    for (const char *line = c->bytes; line < end; line = (const char *)memchr(line, '\n', end + 2 - line) + 1) {
        if (strncasecmp(line, "content-length:", 15) == 0)
            body = strtol(line + 15, NULL, 10);
        else if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            return -1;
    }
    if (body < 0 || body > MOST_BYTES)
        return -1;
    return c->length >= (size_t)(head + body) ? head + body : 0;
}

static void let_go(Connection *c) {
    if (!c->is_gone)
        close(c->socket);
    c->is_gone = true;
    if (c->is_waiting)
        return;
    free(c->bytes);
    free(c);
}

/* Puts the first request that is whole into the queue. */
static void advance(Connection *c, long long latency) {
    if (c->is_waiting)
        return;
    long length = request_length(c);
    if (length < 0) {
        let_go(c);
        return;
    }
    if (length == 0)
        return;
    c->length -= length;
    memmove(c->bytes, c->bytes + length, c->length);
    c->is_waiting = true;
    c->due = now() + latency;
    c->next = NULL;
    *(first ? &last->next : &first) = c;
    last = c;
}

static void receive(Connection *c, long long latency) {
    if (c->capacity - c->length < FIRST_BYTES / 4) {
        c->capacity = c->capacity ? c->capacity * 2 : FIRST_BYTES;
        c->bytes = realloc(c->bytes, c->capacity);
        if (!c->bytes)
            fail("realloc");
    }
    ssize_t got = recv(c->socket, c->bytes + c->length, c->capacity - c->length, MSG_DONTWAIT);
    if (got <= 0) {
        let_go(c);
        return;
    }
    c->length += got;
    advance(c, latency);
}

static void answer(Connection *c, long long latency) {
    char text[sizeof BODY + 256];
    int length = snprintf(text, sizeof text,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                          "x-request-id: req_%llu\r\n\r\n%s",
                          sizeof BODY - 1, ++answered, BODY);
    c->is_waiting = false;
    if (c->is_gone || send(c->socket, text, length, MSG_DONTWAIT | MSG_NOSIGNAL) != length)
        let_go(c); /* it went away, or reads nothing */
    else
        advance(c, latency);
}

static void answer_due(long long latency) {
    long long time = first ? now() : 0;
    while (first && first->due <= time) {
        Connection *c = first;
        first = c->next;
        answer(c, latency);
    }
}

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, BACKLOG) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        fail("listen");
    printf("mock model at http://127.0.0.1:%d/v1\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void watch(int poll, int socket, Connection *c) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event))
        fail("epoll_ctl");
}

static void take_in(int poll, int listener) {
    int socket, yes = 1;
    while ((socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        Connection *c = calloc(1, sizeof *c);
        if (!c)
            fail("calloc");
        c->socket = socket;
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        watch(poll, socket, c);
    }
}

static int pause_milliseconds(void) {
    if (!first)
        return -1;
    long long left = first->due - now();
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

int main(int count, char **arguments) {
    long long latency = count > 1 ? atoll(arguments[1]) * 1000 : 0;
    struct rlimit files = {0};
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int poll = epoll_create1(EPOLL_CLOEXEC), listener = listen_on_loopback();
    watch(poll, listener, NULL);
    for (struct epoll_event events[EVENTS];;) {
        int ready = epoll_wait(poll, events, EVENTS, pause_milliseconds());
        for (int place = 0; place < ready; place++) {
            Connection *c = events[place].data.ptr;
            if (c)
                receive(c, latency);
            else
                take_in(poll, listener);
        }
        answer_due(latency);
    }
}
