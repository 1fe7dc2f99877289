#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "CBench.h"
#include "monitor.h"

static int fail(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    return -1;
}

/// Sends a command and takes what comes for its answer; events before it are of no interest yet.
static int ask(int fd, const char *command) {
    char buffer[65536];
    if (bench_write(fd, command) != 0) return fail(command);
    do {
        if (bench_line(fd, buffer, sizeof buffer) < 0) return fail(command);
        if (strstr(buffer, "\"error\"")) {
            fprintf(stderr, "floor: %s: %s", command, buffer);
            return -1;
        }
    } while (!strstr(buffer, "\"return\""));
    return 0;
}

#define ON(name) "{\"capability\": \"" name "\", \"state\": true}"
#define CAPABILITIES(list) "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": [" list "]}}\r\n"

int godwit_bench_react(const char *source, const char *destination, const char *uri, const char *parameters) {
    static const char proceed[] = "{\"execute\": \"migrate-continue\", \"arguments\": {\"state\": \"pre-switchover\"}}\r\n";
    static const char run[] = "{\"execute\": \"cont\"}\r\n";
    char command[2048];
    int out = bench_open_monitor(source);
    if (out < 0) return fail(source);
    int in = bench_open_monitor(destination);
    if (in < 0) return fail(destination);

    if (ask(in, CAPABILITIES(ON("events") "," ON("late-block-activate"))) != 0) return -1;
    snprintf(command, sizeof command, "{\"execute\": \"migrate-incoming\", \"arguments\": {\"uri\": \"%s\"}}\r\n", uri);
    if (ask(in, command) != 0) return -1;
    if (ask(out, CAPABILITIES(ON("events") "," ON("return-path") "," ON("pause-before-switchover"))) != 0) return -1;
    snprintf(command, sizeof command, "{\"execute\": \"migrate-set-parameters\", \"arguments\": %s}\r\n", parameters);
    if (ask(out, command) != 0) return -1;
    snprintf(command, sizeof command, "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"%s\"}}\r\n", uri);
    if (bench_write(out, command) != 0) return fail("migrate");

    int loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event interest[2] = {{.events = EPOLLIN, .data.fd = out}, {.events = EPOLLIN, .data.fd = in}};
    epoll_ctl(loop, EPOLL_CTL_ADD, out, &interest[0]);
    epoll_ctl(loop, EPOLL_CTL_ADD, in, &interest[1]);
    bool held = false, left = false, arrived = false, told = false;
    char buffer[65536];
    for (;;) {
        struct epoll_event ready[2];
        int count = epoll_wait(loop, ready, 2, 60000);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return fail("no word from either QEMU");
        for (int index = 0; index < count; index++) {
            int fd = ready[index].data.fd;
            ssize_t length = read(fd, buffer, sizeof buffer);
            if (length <= 0) return fail(fd == out ? "the source hung up" : "the destination hung up");
            if (memmem(buffer, (size_t)length, "\"failed\"", 8)) {
                fprintf(stderr, "floor: the migration failed\n");
                return -1;
            }
            bool completed = memmem(buffer, (size_t)length, "\"completed\"", 11) != NULL;
            if (fd == out) {
                left = left || completed;
                if (!held && memmem(buffer, (size_t)length, "pre-switchover", 14)) {
                    held = true;
                    if (write(out, proceed, sizeof proceed - 1) < 0) return fail("migrate-continue");
                }
            } else {
                arrived = arrived || completed;
                if (told && memmem(buffer, (size_t)length, "\"RESUME\"", 8)) {
                    close(in);
                    return bench_write(out, "{\"execute\": \"quit\"}\r\n");
                }
            }
            if (left && arrived && !told) {
                told = true;
                if (write(in, run, sizeof run - 1) < 0) return fail("cont");
            }
        }
    }
}
