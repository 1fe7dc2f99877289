#pragma once
// The floor: what a C program that does nothing but the bare minimum reaches on the same work. Benchmarks are printed as ratios to it.
#include <stddef.h>
#include <stdint.h>

/// Migrates a guest by reacting to the words "pre-switchover" and "completed" wherever they stand in what QEMU sends: no framing, no parsing, no record.
/// Both QEMUs are this host's; `uri` is where the destination is told to listen; `parameters` the source's migrate-set-parameters arguments (a JSON object).
/// Ends the source's QEMU when the destination's runs. Returns 0, or -1 with what went wrong on standard error.
int godwit_bench_react(const char *source, const char *destination, const char *uri, const char *parameters);

/// `count` round trips of query-status, one after the other, with epoll; the time of each in nanoseconds. Returns 0 or -1 with errno.
int godwit_bench_round_trips(const char *path, size_t count, uint64_t *nanoseconds);

/// A monitor that greets, accepts one client and its qmp_capabilities, sends `count` MIGRATION events as fast as they are taken, and hangs up.
/// Starts a thread; the socket listens when this returns. Returns 0 or -1 with errno.
int godwit_bench_flood(const char *path, size_t count);

/// Reads such a flood with json-c, frames by line and looks up name, status and seconds of each event.
/// Gives the number of events, and the time from the first to the last in nanoseconds. Returns 0 or -1 with errno.
int godwit_bench_read_flood(const char *path, size_t *count, uint64_t *nanoseconds);

/// Reads a file in pieces and finds its lines with memchr. Gives their number and the time in nanoseconds. Returns 0 or -1 with errno.
int godwit_bench_count_lines(const char *path, uint64_t *lines, uint64_t *nanoseconds);

/// Runs a program (found in PATH, arguments end with NULL), its standard output thrown away. Gives the time from its start to its end, the
/// most memory that was resident, and its exit code (128 and the signal's number where one ended it). Returns 0 or -1 with errno.
int godwit_bench_run(char *const *arguments, double *seconds, long *kilobytes, int *status);
