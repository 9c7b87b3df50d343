/* spawn.c - the least that running programs takes: `spawn COUNT PROGRAM` starts the program so often, one after the
 * other in each of two processes, and waits for each; nothing of its output is kept. `spawn COUNT PROGRAM kept` keeps
 * it, as parlua does, by pipes that are read up to the program's end; signals are what they are in any program, and the
 * program has a group of its own, and dies with its parent. Prints the seconds. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* One program, with its number as a word, as `xargs -n 1` has it. */
static void run_one(const char *program, long number)
{
  char word[24];
  char *arguments[] = {(char *)(size_t)program, word, NULL};
  int status;
  snprintf(word, sizeof word, "%ld", number);
  pid_t pid = vfork();
  if (pid == 0) {
    execve(program, arguments, environ);
    _exit(127);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) exit(1);
}

/* In the child. */
static void prepare(const int *output, const int *error)
{
  struct sigaction action, normal = {.sa_handler = SIG_DFL};
  for (int number = 1; number < NSIG; number++)
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
      sigaction(number, &normal, NULL);
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(output[1], 1);
  dup2(error[1], 2);
}

/* The same, with its output kept. */
static void run_one_kept(const char *program, long number)
{
  char word[24], bytes[4096];
  char *arguments[] = {(char *)(size_t)program, word, NULL};
  int output[2], error[2], status;
  if (pipe2(output, O_CLOEXEC) || pipe2(error, O_CLOEXEC)) exit(1);
  fcntl(output[0], F_SETFL, O_NONBLOCK);
  fcntl(error[0], F_SETFL, O_NONBLOCK);
  snprintf(word, sizeof word, "%ld", number);
  pid_t pid = vfork();
  if (pid == 0) {
    prepare(output, error);
    execve(program, arguments, environ);
    _exit(127);
  }
  int end = (int)syscall(SYS_pidfd_open, pid, 0);
  struct pollfd watched[] = {{.fd = output[0], .events = POLLIN}, {.fd = error[0], .events = POLLIN}, {end, POLLIN, 0}};
  do {
    poll(watched, 3, -1);
    for (int k = 0; k < 2; k++)
      while (watched[k].revents && read(watched[k].fd, bytes, sizeof bytes) > 0) continue;
  } while (!watched[2].revents);
  while (read(output[0], bytes, sizeof bytes) > 0 || read(error[0], bytes, sizeof bytes) > 0) continue;
  if (waitpid(pid, &status, 0) != pid || status != 0) exit(1);
  for (int k = 0; k < 2; k++) close(output[k]), close(error[k]);
  close(end);
}

int main(int argc, char **argv)
{
  if (argc < 3) return 2;
  long count = atol(argv[1]);
  void (*run)(const char *, long) = argc > 3 && strcmp(argv[3], "kept") == 0 ? run_one_kept : run_one;
  int status = 0;
  double began = now();
  pid_t other = fork();
  if (other < 0) return 1;
  for (long k = other == 0 ? 1 : 0; k < count; k += 2) run(argv[2], k);
  if (other == 0) _exit(0);
  if (waitpid(other, &status, 0) != other || status != 0) return 1;
  printf("%.9f\n", now() - began);
  return 0;
}
