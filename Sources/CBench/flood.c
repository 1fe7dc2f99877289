#define _GNU_SOURCE
#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "CBench.h"
#include "monitor.h"

struct flood {
    int listener;
    size_t count;
};

static const char *const words[] = {"setup", "active", "pre-switchover", "device", "completed"};

static void *pour(void *argument) {
    struct flood *flood = argument;
    int client = accept4(flood->listener, NULL, NULL, SOCK_CLOEXEC);
    close(flood->listener);
    char buffer[65536];
    if (client >= 0
        && bench_write(
               client,
               "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"bench\"}, "
               "\"capabilities\": [\"oob\"]}}\r\n")
               == 0
        && bench_line(client, buffer, sizeof buffer) >= 0) {
        char *id = strstr(buffer, "\"id\":");
        char reply[128];
        snprintf(reply, sizeof reply, "{\"return\": {}, \"id\": %ld}\r\n", id ? strtol(id + 5, NULL, 10) : 0);
        bench_write(client, reply);
        // The reply shall not share a read with the first events.
        usleep(20000);
        size_t sent = 0, filled = 0;
        while (sent < flood->count) {
            filled = 0;
            while (sent < flood->count && filled + 256 < sizeof buffer) {
                filled += (size_t)snprintf(
                    buffer + filled, sizeof buffer - filled,
                    "{\"timestamp\": {\"seconds\": 1795235464, \"microseconds\": %zu}, \"event\": \"MIGRATION\", "
                    "\"data\": {\"status\": \"%s\"}}\r\n",
                    sent % 1000000, words[sent % 5]);
                sent++;
            }
            buffer[filled] = 0;
            if (bench_write(client, buffer) != 0) break;
        }
    }
    if (client >= 0) close(client);
    free(flood);
    return NULL;
}

int godwit_bench_flood(const char *path, size_t count) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    unlink(path);
    struct flood *flood = malloc(sizeof *flood);
    if (!flood) return -1;
    flood->count = count;
    flood->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;
    if (flood->listener < 0 || bind(flood->listener, (struct sockaddr *)&address, sizeof address) != 0
        || listen(flood->listener, 1) != 0 || pthread_create(&thread, NULL, pour, flood) != 0) {
        if (flood->listener >= 0) close(flood->listener);
        free(flood);
        return -1;
    }
    pthread_detach(thread);
    return 0;
}

/// The three members a controller needs; false if one is missing.
static bool look(json_object *event) {
    json_object *name, *data, *status, *timestamp, *seconds;
    return json_object_object_get_ex(event, "event", &name) && json_object_object_get_ex(event, "data", &data)
           && json_object_object_get_ex(data, "status", &status) && json_object_get_string_len(status) > 0
           && json_object_object_get_ex(event, "timestamp", &timestamp)
           && json_object_object_get_ex(timestamp, "seconds", &seconds) && json_object_get_int64(seconds) > 0;
}

int godwit_bench_read_flood(const char *path, size_t *count, uint64_t *nanoseconds) {
    static char buffer[1 << 17];
    int fd = bench_open_monitor(path);
    if (fd < 0) return -1;
    json_tokener *tokener = json_tokener_new_ex(1024);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    size_t kept = 0;
    uint64_t start = 0;
    *count = 0;
    for (;;) {
        ssize_t got = read(fd, buffer + kept, sizeof buffer - kept);
        if (got <= 0) break;
        if (start == 0) start = bench_now();
        kept += (size_t)got;
        char *line = buffer, *end;
        while ((end = memchr(line, '\n', (size_t)(buffer + kept - line)))) {
            json_tokener_reset(tokener);
            json_object *event = json_tokener_parse_ex(tokener, line, (int)(end - line));
            if (event && look(event)) ++*count;
            json_object_put(event);
            line = end + 1;
        }
        kept = (size_t)(buffer + kept - line);
        memmove(buffer, line, kept);
    }
    *nanoseconds = bench_now() - start;
    json_tokener_free(tokener);
    close(fd);
    return 0;
}
