#pragma once
// System calls that glibc's Swift overlay does not show: they are variadic or newer than its headers.
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "CLinuxSpawn.h"

/// pidfd_open(2). Returns a close-on-exec descriptor or -1 with errno.
int godwit_pidfd_open(pid_t pid);

/// pidfd_send_signal(2). Returns 0 or -1 with errno.
int godwit_pidfd_send_signal(int pidfd, int signal);

/// The peer's process of a connected Unix socket: who called listen(2), or who connected.
/// Fills pid, uid, gid; returns 0 or -1 with errno.
int godwit_peer_credentials(int socket, pid_t *pid, uid_t *uid, gid_t *gid);

/// A pidfd of the peer of a Unix socket, free of pid reuse (SO_PEERPIDFD, Linux 6.5). Returns -1 with errno where the kernel has none.
int godwit_peer_pidfd(int socket);

/// sendmsg(2) of `length` bytes with `count` descriptors attached (SCM_RIGHTS, at most 253). Returns the bytes sent or -1 with errno.
ssize_t godwit_send_descriptors(int socket, const void *bytes, size_t length, const int *descriptors, size_t count);

/// recvmsg(2) with descriptors (close-on-exec). `*count` is the room on entry, the number received on return.
ssize_t godwit_receive_descriptors(int socket, void *bytes, size_t length, int *descriptors, size_t *count);

/// open(2) of a file without a name in a directory (O_TMPFILE), for reading and writing, close-on-exec, for its owner only.
/// Returns -1 with errno, EOPNOTSUPP or EISDIR where the file system or the kernel cannot do it.
int godwit_open_unnamed(const char *directory);

/// open(2) of the file behind a descriptor once more, for reading or for writing alone, past the host's cache if wanted (O_DIRECT); it
/// has a position of its own. Returns -1 with errno.
int godwit_reopen(int descriptor, bool is_writing, bool is_direct);
