#pragma once
// A child process that cannot outlive us.
#include <sys/types.h>

/// Starts `arguments[0]` (looked up in PATH unless it holds a slash) in a session of its own, so that a terminal's Ctrl-C does not
/// reach it, with all signals at their defaults, no descriptors but the three given (-1: /dev/null), and SIGKILL due when this
/// process ends in whatever way. Both arrays end with NULL; `environment` NULL: ours.
/// `*pidfd` gets a close-on-exec descriptor of the child. Returns its pid, or -1 with errno, also when the program could not be executed.
pid_t godwit_spawn(
    const char *const *arguments, const char *const *environment, int input, int output, int error, int *pidfd);

/// waitid(2) of a child by its pidfd, without blocking. Returns 1 and fills `*code` (CLD_EXITED, CLD_KILLED, CLD_DUMPED) and
/// `*status` (exit status or signal) when it has ended, 0 when it has not, -1 with errno.
int godwit_reap(int pidfd, int *code, int *status);
