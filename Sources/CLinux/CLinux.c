#define _GNU_SOURCE
#include "CLinux.h"

#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum { maximumDescriptors = 253 };

int godwit_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int godwit_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int godwit_peer_credentials(int socket, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -1;
    *pid = credentials.pid;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return 0;
}

int godwit_peer_pidfd(int socket) {
    int descriptor = -1;
    socklen_t length = sizeof descriptor;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &descriptor, &length) != 0) return -1;
    return descriptor;
}

ssize_t godwit_send_descriptors(int socket, const void *bytes, size_t length, const int *descriptors, size_t count) {
    if (count > maximumDescriptors) {
        errno = EINVAL;
        return -1;
    }
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * maximumDescriptors)];
    memset(control, 0, sizeof control);
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

ssize_t godwit_receive_descriptors(int socket, void *bytes, size_t length, int *descriptors, size_t *count) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * maximumDescriptors)];
    struct iovec vector = {.iov_base = bytes, .iov_len = length};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    size_t room = *count;
    *count = 0;
    ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (received < 0) return received;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t received_count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        const int *received_descriptors = (const int *)CMSG_DATA(header);
        for (size_t index = 0; index < received_count; index++) {
            if (*count < room) {
                descriptors[(*count)++] = received_descriptors[index];
            } else {
                close(received_descriptors[index]);
            }
        }
    }
    return received;
}

int godwit_open_unnamed(const char *directory) { return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }

int godwit_reopen(int descriptor, bool is_writing, bool is_direct) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return open(path, (is_writing ? O_WRONLY : O_RDONLY) | (is_direct ? O_DIRECT : 0) | O_CLOEXEC);
}
