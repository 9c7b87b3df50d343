/* cluster.c - the shared object parlua_mpi.so (see ../cluster.h): the beginning and the end of an MPI job. Each rank
 * forks a helper before MPI_Init (../nursery.h), which forks the rank's workers: so no user code runs in an MPI process
 * but the script in rank 0. A program that was not started as an MPI job spawns its ranks when it first needs them.
 * Then the program itself is rank 0, without workers and therefore without a helper. */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <math.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "engines/cluster.h"
#include "engines/mpi/agent.h"
#include "engines/mpi/mpi.h"
#include "sys/ask.h"
#include "sys/barrier.h"
#include "sys/clock.h"
#include "sys/cores.h"
#include "sys/family.h"
#include "sys/signals.h"

/* What a rank knows of the job. There is one in a process: MPI is initialised once. */
static struct {
  struct transport transport;
  struct share share;
  struct nursery nursery;
  MPI_Comm spawned; /* to the ranks that this one has spawned, or that have spawned it; else MPI_COMM_NULL */
} job;

/* MPI_Init; but what crashes goes on to end as it always did: Open MPI would print a page about it. */
static void init_mpi(void)
{
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  enum { COUNT = sizeof signals / sizeof *signals };
  struct sigaction before[COUNT];
  int provided;
  signals_keep_off(SIGPIPE); /* MPI writes to ranks that may have been lost */
  for (int i = 0; i < COUNT; i++) sigaction(signals[i], NULL, &before[i]);
  MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  for (int i = 0; i < COUNT; i++) sigaction(signals[i], &before[i], NULL);
}

/* Meets the other ranks on `comm`. */
static void meet(MPI_Comm comm)
{
  bool is_spawned = job.spawned != MPI_COMM_NULL;
  int error = transport_open(&job.transport, comm) ? 0 : ENOMEM;
  if (!error) error = mpi_join(&job.transport, &job.share, &job.nursery, is_spawned);
  if (error) {
    fprintf(stderr, "parlua: rank %d cannot begin: %s\n", job.transport.rank, strerror(error));
    MPI_Abort(comm, 1);
  }
  barrier_join();
  prctl(PR_SET_TIMERSLACK, 1000UL); /* nanoseconds: naps are to be as short as they say */
}

/* Was this process started as one of several by the launcher of another MPI than that which this is linked with? Then
 * each would be a job of its own and run the whole script. */
static bool is_misled(void)
{
  static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
  char version[MPI_MAX_LIBRARY_VERSION_STRING];
  int count, length, rank = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &count);
  for (int i = 0; count == 1 && i < 2; i++) {
    const char *value = getenv(names[i]), *own = getenv(i == 0 ? "OMPI_COMM_WORLD_RANK" : "PMI_RANK");
    if (!value || atoi(value) <= 1) continue;
    if (own) rank = atoi(own);
    MPI_Get_library_version(version, &length);
    version[strcspn(version, ",\n")] = '\0';
    if (rank == 0)
      fprintf(stderr,
              "parlua: it was started as %s processes, but by another MPI than parlua_mpi.so was built with (%s): use "
              "that MPI's "
              "mpirun, "
              "or build with the other's compiler: make MPICC=...\n",
              value, version);
    return true;
  }
  return false;
}

static int begin(bool is_spawned)
{
  MPI_Comm all;
  int error = nursery_open(&job.nursery);
  if (error) {
    fprintf(stderr, "parlua: cannot start the helper of the mpi engine: %s\n", strerror(error));
    return -1;
  }
  ask_prepare(); /* mpirun forwards SIGUSR1 to all ranks */
  init_mpi();
  job.spawned = MPI_COMM_NULL;
  if (!is_spawned && is_misled()) {
    MPI_Finalize();
    return -1;
  }
  if (is_spawned) MPI_Comm_get_parent(&job.spawned);
  if (is_spawned && job.spawned == MPI_COMM_NULL) {
    fputs("parlua: --mpi-agent is how parlua starts its own ranks; for several ranks, use: mpirun -n 4 parlua ...\n",
          stderr);
    MPI_Finalize();
    return -1;
  }
  if (is_spawned)
    MPI_Intercomm_merge(job.spawned, 1, &all);
  else
    MPI_Comm_dup(MPI_COMM_WORLD, &all);
  meet(all);
  if (job.transport.rank > 0) signal(SIGUSR1, SIG_IGN); /* only rank 0 knows an answer */
  return job.transport.rank;
}

/* Settings for ranks that are spawned; what the user has set stays. */
static void configure_spawn(void)
{
  struct ifaddrs *list = NULL;
  const char *loopback = NULL;
  bool is_connected = false;
  setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0); /* as many as are asked for; who forbids it has set it */
  /* Open MPI 4 connects spawned ranks by TCP alone, and not over the loopback: a machine that is offline has nothing
   * else. */
  if (getenv("OMPI_MCA_btl_tcp_if_exclude") || getifaddrs(&list) < 0) return;
  for (const struct ifaddrs *one = list; one; one = one->ifa_next) {
    bool is_inet = one->ifa_addr && (one->ifa_addr->sa_family == AF_INET || one->ifa_addr->sa_family == AF_INET6);
    if (!is_inet || !(one->ifa_flags & IFF_UP)) continue;
    if (one->ifa_flags & IFF_LOOPBACK)
      loopback = one->ifa_name;
    else
      is_connected = true;
  }
  if (loopback && !is_connected) setenv("OMPI_MCA_btl_tcp_if_include", loopback, 0);
  freeifaddrs(list);
}

/* Keeps standard input from the daemon that Open MPI starts, which would read it for the spawned ranks. Returns it. */
static int withhold_input(void)
{
  int own = fcntl(0, F_DUPFD_CLOEXEC, 3), nothing = own >= 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
  if (nothing >= 0) {
    dup2(nothing, 0);
    close(nothing);
  }
  return own;
}

static void give_input(int own)
{
  if (own < 0) return;
  dup2(own, 0);
  close(own);
}

/* The start of ranks that this one spawns. Open MPI waits for ever for a rank that ends before it has met the others.
 */
static struct {
  char program[PATH_MAX];
  unsigned count;
  enum { IS_UNDER_WAY, IS_OVER, IS_GIVEN_UP } state;
} start;

static bool leave_start(int state)
{
  int before = IS_UNDER_WAY;
  return __atomic_compare_exchange_n((int *)&start.state, &before, state, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* Ends the program where a rank on this host has ended meanwhile: nothing brings MPI back. Ranks that have begun are
 * children of its daemon, which is this process's child and ends with it. */
static void *watch_start(void *unused)
{
  static const struct timespec look = {.tv_nsec = 20000000};
  static const double grace_seconds = 2; /* in which MPI may tell of it by itself */
  double lost = INFINITY;
  (void)unused;
  for (int most = 0, now; __atomic_load_n((int *)&start.state, __ATOMIC_SEQ_CST) == IS_UNDER_WAY;
       most = now > most ? now : most) {
    nanosleep(&look, NULL);
    now = family_count(getpid(), start.program);
    if (now < most) lost = fmin(lost, clock_seconds());
    if (clock_seconds() - lost <= grace_seconds || !leave_start(IS_GIVEN_UP)) continue;
    fprintf(stderr,
            "parlua: engine \"mpi\": one of the %u processes that it starts has ended before it was ready. MPI would "
            "wait for it for ever, so the program ends: start it again.\n",
            start.count);
    fflush(NULL);
    _exit(1);
  }
  return NULL;
}

static void begin_start(uint32_t count)
{
  ssize_t length = readlink("/proc/self/exe", start.program, sizeof start.program - 1);
  pthread_t thread;
  sigset_t all, usual;
  start.program[length < 0 ? 0 : length] = '\0';
  start.count = count;
  start.state = IS_UNDER_WAY;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &usual);
  if (pthread_create(&thread, NULL, watch_start, NULL) == 0) pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &usual, NULL);
}

/* No rank that ends from now on concerns the start. */
static void end_start(void)
{
  while (!leave_start(IS_OVER)) pause(); /* the program is about to end */
}

static bool spawn(uint32_t count, char *message, size_t size)
{
  static char *const words[] = {"--mpi-agent", NULL};
  char directory[PATH_MAX];
  MPI_Comm all;
  MPI_Info info;
  configure_spawn();
  begin_start(count);
  int input = withhold_input();
  init_mpi();
  signals_elsewhere++;
  MPI_Info_create(&info);
  if (getcwd(directory, sizeof directory)) MPI_Info_set(info, "wdir", directory);
  MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
  int error = MPI_Comm_spawn(start.program, (char **)words, (int)count, info, 0, MPI_COMM_SELF, &job.spawned,
                             MPI_ERRCODES_IGNORE);
  give_input(input);
  MPI_Info_free(&info);
  if (error) {
    end_start();
    char why[MPI_MAX_ERROR_STRING];
    int why_length;
    MPI_Error_string(error, why, &why_length);
    why[strcspn(why, "\n")] = '\0'; /* MPICH goes on with its own calls */
    snprintf(message, size,
             "this MPI did not start %u more processes (%s): ask for fewer workers, or allow more processes than there "
             "are slots (with "
             "Open MPI: OMPI_MCA_rmaps_base_oversubscribe=1 in the environment), or start the program as: mpirun -n 4 "
             "parlua ...",
             (unsigned)count, why);
    MPI_Finalize();
    signals_elsewhere--;
    return false;
  }
  MPI_Intercomm_merge(job.spawned, 0, &all);
  meet(all);
  end_start();
  signals_elsewhere--;
  return true;
}

static int leaving_status;

static void leave_at_once(int number)
{
  (void)number;
  _exit(leaving_status);
}

/* After mpirun was told to end the job, it answers nobody any more and kills what is left a second later: then there is
 * no waiting for it, nor for a rank that is lost. mpirun's status is that of the first rank that leaves with another
 * than 0: so all leave with the script's. */
static void hurry(int status)
{
  const struct itimerval soon = {.it_value = {.tv_usec = 300000}};
  fflush(NULL);
  leaving_status = status;
  signal(SIGALRM, leave_at_once);
  setitimer(ITIMER_REAL, &soon, NULL);
}

/* Takes leave of MPI. */
static void finalize(void)
{
  signals_elsewhere++;
  if (job.spawned != MPI_COMM_NULL) MPI_Comm_disconnect(&job.spawned);
  MPI_Finalize();
  signals_elsewhere--;
}

static void serve(const struct row_maker *maker)
{
  bool is_soon;
  int status = agent_serve(&job.nursery, maker, &is_soon);
  if (is_soon) hurry(status);
  finalize();
}

static void end(int status)
{
  bool interrupted = signals_count() > 0;
  if (interrupted) hurry(status);
  if (job.spawned == MPI_COMM_NULL) nursery_close(&job.nursery);
  if (!mpi_leave(status, interrupted)) hurry(status); /* a rank that is lost takes no leave */
  if (getenv("PARLUA_MPI_COUNT"))                     /* for measurements and tests */
    fprintf(stderr, "parlua: rank 0 sent %llu messages, %llu bytes; received %llu messages, %llu bytes\n",
            (unsigned long long)job.transport.messages_sent, (unsigned long long)job.transport.bytes_sent,
            (unsigned long long)job.transport.messages_received, (unsigned long long)job.transport.bytes_received);
  finalize();
}

static int ranks(void)
{
  return job.transport.count;
}

extern const struct cluster parlua_cluster;
const struct cluster parlua_cluster = {
    .kind = &engine_mpi,
    .begin = begin,
    .spawn = spawn,
    .serve = serve,
    .end = end,
    .ranks = ranks,
    .cores = mpi_cores,
};
