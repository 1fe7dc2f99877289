#pragma once
#include <stddef.h>
#include <stdint.h>

int bench_connect(const char *path);
int bench_write(int fd, const char *text);
/// Reads until a line is complete, which is cut to a C string. Returns its length or -1.
long bench_line(int fd, char *buffer, size_t size);
/// Connects, reads the greeting, enables out-of-band. Returns the socket or -1.
int bench_open_monitor(const char *path);
uint64_t bench_now(void);
