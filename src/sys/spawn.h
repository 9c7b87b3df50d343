/* spawn.h - starts a program without a shell, in a process group of its own, with pipes to and from it. */
#ifndef PARLUA_SPAWN_H
#define PARLUA_SPAWN_H
#include <stdbool.h>
#include <sys/types.h>

/* Where one of the program's standard streams comes from or goes to. */
enum spawn_kind {
  SPAWN_INHERIT, /* this process's own */
  SPAWN_NOTHING, /* /dev/null */
  SPAWN_PIPE,    /* a pipe, whose other end is the caller's */
  SPAWN_FILE,    /* the file `path`; output is made anew, or goes on at its end */
  SPAWN_OUTPUT,  /* of standard error: where standard output goes */
};

struct spawn_stream {
  enum spawn_kind kind;
  const char *path;
  bool append;
};

struct spawn {
  char **words; /* the program, looked for in PATH unless there is a slash in it, and its arguments; ends with NULL */
  char **environment;             /* "name=value"; ends with NULL */
  const char *directory;          /* where it runs; NULL: here */
  struct spawn_stream streams[3]; /* standard input, output, error */
  /* what comes of it: */
  pid_t pid;      /* of the process and of its group */
  int descriptor; /* readable when the process has ended; -1: the system has no such descriptors */
  int pipes[3];   /* the caller's ends, which don't block; -1: there is none */
  int held[3];    /* the program's ends of pipes for output: while they are open here, that the program closes its own,
                     as it ends, wakes nobody twice. A pipe has no end until they are closed. -1: there is none */
  const char *wrong; /* where it failed: the path, the directory or the program concerned */
};

/* Starts it. Returns 0 or an errno, with everything closed. What is started gets SIGKILL when the calling thread ends.
 * Where a program without a slash was found in PATH is kept for the next one of that name. */
int spawn_program(struct spawn *spawn);

#endif
