#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "CBench.h"

extern char **environ;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int godwit_bench_count_lines(const char *path, uint64_t *lines, uint64_t *nanoseconds) {
    enum { room = 256 << 10 };
    char *buffer = malloc(room);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || !buffer) {
        free(buffer);
        if (file >= 0) close(file);
        return -1;
    }
    double start = now();
    uint64_t count = 0;
    ssize_t length;
    while ((length = read(file, buffer, room)) > 0) {
        const char *place = buffer, *end = buffer + length;
        while ((place = memchr(place, '\n', (size_t)(end - place)))) {
            place++;
            count++;
        }
    }
    *nanoseconds = (uint64_t)((now() - start) * 1e9);
    *lines = count;
    close(file);
    free(buffer);
    return length < 0 ? -1 : 0;
}

int godwit_bench_run(char *const *arguments, double *seconds, long *kilobytes, int *status) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child;
    double start = now();
    int error = posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        errno = error;
        return -1;
    }
    int word;
    struct rusage usage;
    while (wait4(child, &word, 0, &usage) < 0)
        if (errno != EINTR) return -1;
    *seconds = now() - start;
    *kilobytes = usage.ru_maxrss;
    *status = WIFEXITED(word) ? WEXITSTATUS(word) : 128 + WTERMSIG(word);
    return 0;
}
