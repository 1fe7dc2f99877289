#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

extern char **environ;

struct job {
    const char *const *arguments;
    const char *const *environment;
    int descriptors[3];
    int *pidfd;
    pid_t pid;
    int error;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct job *waiting;
static pid_t thread_owner;

static void run_child(const struct job *job, pid_t parent, int report) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) goto failed;
    if (getppid() != parent) _exit(127); // the parent ended before the line above
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();

    // A descriptor that stands where another belongs moves out of the way first.
    int from[3];
    for (int index = 0; index < 3; index++) {
        int given = job->descriptors[index];
        int opened = given >= 0 ? given : open("/dev/null", O_RDWR | O_CLOEXEC);
        if (opened < 0) goto failed;
        from[index] = fcntl(opened, F_DUPFD_CLOEXEC, 3);
        if (from[index] < 0) goto failed;
    }
    int safe_report = fcntl(report, F_DUPFD_CLOEXEC, 3);
    if (safe_report < 0) goto failed;
    report = safe_report;
    for (int index = 0; index < 3; index++) {
        if (dup2(from[index], index) < 0) goto failed;
    }
    syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
    execvpe(
        job->arguments[0], (char *const *)job->arguments,
        job->environment != NULL ? (char *const *)job->environment : environ);
failed:;
    int error = errno;
    ssize_t ignored = write(report, &error, sizeof error);
    (void)ignored;
    _exit(127);
}

static void perform(struct job *job) {
    int report[2];
    job->pid = -1;
    if (pipe2(report, O_CLOEXEC) != 0) {
        job->error = errno;
        return;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) run_child(job, parent, report[1]);
    job->error = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return;
    }
    // The pipe closes by the execution of the program; a number in it says why there was none.
    int error = 0;
    ssize_t length;
    do {
        length = read(report[0], &error, sizeof error);
    } while (length < 0 && errno == EINTR);
    close(report[0]);
    int pidfd = length == 0 ? godwit_pidfd_open(pid) : -1;
    if (pidfd < 0) {
        job->error = length == 0 ? errno : error;
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
        return;
    }
    *job->pidfd = pidfd;
    job->pid = pid;
}

static void *serve(void *unused) {
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (waiting == NULL) pthread_cond_wait(&changed, &mutex);
        struct job *job = waiting;
        perform(job);
        waiting = NULL;
        pthread_cond_broadcast(&changed);
    }
    return unused;
}

// The kernel sends the parent-death signal when the *thread* that forked ends, and threads of a pool end when they are idle.
// So all children come from one thread that lives as long as the process.
pid_t godwit_spawn(
    const char *const *arguments, const char *const *environment, int input, int output, int error, int *pidfd) {
    struct job job = {
        .arguments = arguments,
        .environment = environment,
        .descriptors = {input, output, error},
        .pidfd = pidfd,
    };
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&one_at_a_time);
    pthread_mutex_lock(&mutex);
    int problem = 0;
    if (thread_owner != getpid()) {
        // Signals are for the other threads.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pthread_t thread;
        problem = pthread_create(&thread, NULL, serve, NULL);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (problem == 0) {
            pthread_detach(thread);
            thread_owner = getpid();
        }
    }
    if (problem == 0) {
        waiting = &job;
        pthread_cond_broadcast(&changed);
        while (waiting != NULL) pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    pthread_mutex_unlock(&one_at_a_time);
    if (problem != 0) {
        errno = problem;
        return -1;
    }
    if (job.pid < 0) errno = job.error;
    return job.pid;
}

int godwit_reap(int pidfd, int *code, int *status) {
    siginfo_t information = {0};
    if (waitid(P_PIDFD, (id_t)pidfd, &information, WEXITED | WNOHANG) != 0) return -1;
    if (information.si_pid == 0) return 0;
    *code = information.si_code;
    *status = information.si_status;
    return 1;
}
