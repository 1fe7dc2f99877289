#define _GNU_SOURCE
#include "monitor.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int bench_connect(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int bench_write(int fd, const char *text) {
    size_t length = strlen(text), done = 0;
    while (done < length) {
        ssize_t count = write(fd, text + done, length - done);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return -1;
        done += (size_t)count;
    }
    return 0;
}

long bench_line(int fd, char *buffer, size_t size) {
    size_t length = 0;
    while (length + 1 < size) {
        ssize_t count = read(fd, buffer + length, size - length - 1);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return -1;
        length += (size_t)count;
        buffer[length] = 0;
        if (buffer[length - 1] == '\n') return (long)length;
    }
    errno = EMSGSIZE;
    return -1;
}

int bench_open_monitor(const char *path) {
    char buffer[65536];
    int fd = bench_connect(path);
    if (fd < 0) return -1;
    if (bench_line(fd, buffer, sizeof buffer) < 0
        || bench_write(fd, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}\r\n") != 0
        || bench_line(fd, buffer, sizeof buffer) < 0 || !strstr(buffer, "\"return\"")) {
        close(fd);
        return -1;
    }
    return fd;
}
