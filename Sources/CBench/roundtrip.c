#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "CBench.h"
#include "monitor.h"

int godwit_bench_round_trips(const char *path, size_t count, uint64_t *nanoseconds) {
    char buffer[65536];
    char query[64];
    int fd = bench_open_monitor(path);
    if (fd < 0) return -1;
    int loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
    int result = loop < 0 ? -1 : epoll_ctl(loop, EPOLL_CTL_ADD, fd, &interest);
    for (size_t index = 0; result == 0 && index < count; index++) {
        uint64_t start = bench_now();
        size_t length = 0;
        // QEMU reads its monitor byte by byte, some microseconds each: the ids must be as long as everybody's.
        int size = snprintf(query, sizeof query, "{\"execute\":\"query-status\",\"id\":%zu}\r\n", index + 2);
        if (write(fd, query, (size_t)size) < 0) result = -1;
        while (result == 0 && (length == 0 || buffer[length - 1] != '\n')) {
            struct epoll_event ready;
            if (epoll_wait(loop, &ready, 1, 10000) <= 0) {
                if (errno != EINTR) result = -1;
                continue;
            }
            ssize_t got = read(fd, buffer + length, sizeof buffer - length);
            if (got <= 0) result = -1;
            else length += (size_t)got;
        }
        nanoseconds[index] = bench_now() - start;
    }
    if (loop >= 0) close(loop);
    close(fd);
    return result;
}
