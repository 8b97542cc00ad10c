"""What steps read: files of this machine, objects, documents, databases."""
