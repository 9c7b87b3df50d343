/* terminal.c - the module parlua.terminal: what the prompt (lua/parlua/prompt) needs of C. Nothing here prints text of
   its own.

   Keys become edits of a line in libedit, which is opened when the prompt begins: a script's start pays nothing for it.
   libedit is under a BSD licence, kept with NetBSD, in every distribution, and brings the commands of emacs and vi and
   each user's ~/.editrc. What it draws goes to /dev/null: it draws one line, in the character set of the locale, and
   knows no suggestions. The prompt draws what libedit holds (screen.lua). GNU readline has the same limits and is under
   the GPL; replxx and isocline are in no Debian.

   Ctrl-C ends what runs by a hook, which LuaJIT calls in interpreted code only. Compiled code is left for the
   interpreter by way of LuaJIT's profiler: while one is set to look at lines, each trace tests a flag at every new
   line, and goes back to the interpreter when it is set. SIGPROF sets it; here, only Ctrl-C has SIGPROF raised. */
#include "lua/terminal.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include <lauxlib.h>
#include <luajit.h>

#include "lua/input.h"
#include "sys/clock.h"
#include "sys/signals.h"

/* --- Ctrl-C ----------------------------------------------------------------------------------------------------- */

/* Signal handlers are passed no context. */
static lua_State *volatile running;   /* what Ctrl-C is to interrupt; NULL: nothing runs */
static lua_State *volatile attending; /* in it, a run on async has cqueues wait for its tasks; NULL: none does */
static volatile sig_atomic_t interrupted, resized, ended;

/* A function of C that runs (a pattern that is tried in too many ways, say) can't be interrupted. At so many Ctrl-C in
   so many seconds that nothing has come of, the user is told so, once for a statement. */
#define VAIN_PRESSES 3
#define VAIN_SECONDS 1
static volatile sig_atomic_t vain_presses; /* negative: it was told */
static volatile double vain_since;

static bool starts_with(const char *text, const char *start)
{
  return strncmp(text, start, strlen(start)) == 0;
}

/* Sets what a signal does; returns what it did before. Calls of the system that wait are not begun again after it. */
static struct sigaction on_signal(int number, void (*handler)(int))
{
  struct sigaction action = {.sa_handler = handler}, before;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, &before);
  if (number == SIGINT) signals_changed();
  return before;
}

/* The profiler asks for nothing: a timer of 23 days of processor time, lines, and a function that does nothing. */
#define PROFILE_MODE "li2000000000"

static void pass_over(void *data, lua_State *L, int samples, int vmstate)
{
  (void)data, (void)L, (void)samples, (void)vmstate;
}

/* Is there a profiler, ours or one that was started at the prompt? Without one, SIGPROF would end the program. */
static bool has_profiler(void)
{
  struct sigaction present;
  return sigaction(SIGPROF, NULL, &present) == 0 && present.sa_handler != SIG_DFL && present.sa_handler != SIG_IGN;
}

/* Compiled code goes back to the interpreter at its next line. */
static void leave_traces(void)
{
  if (has_profiler()) raise(SIGPROF);
}

static void on_moment(int signal)
{
  (void)signal;
  leave_traces(); /* not SIGPROF itself: it would end the program where the profiler is gone by then */
}

/* The same in a moment: code that went back at the line where it begins would go back there for ever if it were asked
   to at once. */
static void leave_traces_soon(void)
{
  static const long moment = 1000000; /* nanoseconds */
  static timer_t timer;
  static bool is_made;
  static double asked;
  double now = clock_seconds();
  if (now - asked < moment * 1e-9 || !has_profiler()) return;
  if (!is_made) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGVTALRM};
    event._sigev_un._tid = gettid();
    on_signal(SIGVTALRM, on_moment);
    is_made = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
  }
  const struct itimerspec once = {.it_value = {.tv_nsec = moment}};
  if (!is_made || timer_settime(timer, 0, &once, NULL) < 0) raise(SIGPROF);
  asked = now;
}

/* Code that Ctrl-C leaves to go on. */
static bool is_left(lua_State *L, const lua_Debug *ar)
{
  if (starts_with(ar->source, "=parlua") || starts_with(ar->short_src, "[builtin:")) return true;
  return L == attending && strstr(ar->source, "cqueues.lua");
}

/* The hook that ends what runs, however often it catches the error: it stays until terminal.call returns, or until a
   run has taken the signal for itself (terminal.disarm). parlua's own code is left to go on, and what LuaJIT has in
   Lua: it has workers and files to give back. What that code calls may be compiled. */
static void raise_interrupted(lua_State *L, lua_Debug *ar)
{
  if (vain_presses > 0) vain_presses = 0;
  if (!lua_getinfo(L, "S", ar) || is_left(L, ar)) {
    leave_traces_soon();
    return;
  }
  lua_pushliteral(L, "interrupted");
  lua_error(L);
}

/* Counts the presses; in a signal handler. */
static void note_vain_press(void)
{
  static const char text[] = "\nA function of C runs, which can't be interrupted. It goes on until it returns; Ctrl-\\ "
                             "ends the session.\n";
  double now = clock_seconds();
  if (vain_presses < 0) return;
  if (vain_presses++ == 0) vain_since = now;
  if (vain_presses < VAIN_PRESSES || now - vain_since < VAIN_SECONDS) return;
  vain_presses = -1;
  int error = errno;
  ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
  (void)written; /* where it fails there is nobody to tell */
  errno = error;
}

/* SIGINT while Lua runs, or a signal that is to end the session while a run is at work; in a signal handler. */
static void arm(int signal)
{
  if (signal != SIGINT && signal != SIGHUP && signal != SIGTERM) return;
  interrupted = 1;
  if (!running) return;
  if (signal == SIGINT) note_vain_press();
  lua_sethook(running, raise_interrupted, LUA_MASKCOUNT, 1);
  leave_traces();
}

/* SIGINT while a line is read. */
static void note_interrupt(int signal)
{
  (void)signal;
  interrupted = 1;
}

static void note_resize(int signal)
{
  (void)signal;
  resized = 1;
}

/* SIGTERM or SIGHUP while a line is edited: the terminal gets its mode back first. */
static void note_end(int signal)
{
  ended = signal;
}

/* guard(on): while a prompt is open, Ctrl-C at any moment is noted, for the statement that runs or is about to. */
static int terminal_guard(lua_State *L)
{
  static struct sigaction before;
  static int depth;
  if (lua_toboolean(L, 1)) {
    if (depth++ == 0) before = on_signal(SIGINT, note_interrupt);
  } else if (--depth == 0) {
    sigaction(SIGINT, &before, NULL);
    signals_changed();
  }
  return 0;
}

/* disarm(): a run was cancelled by the signal, so what called it goes on. */
static int terminal_disarm(lua_State *L)
{
  if (vain_presses > 0) vain_presses = 0;
  lua_sethook(L, NULL, 0, 0);
  interrupted = 0;
  return 0;
}

/* attend(on): a run on async begins to wait for its tasks, or no longer does. */
static int terminal_attend(lua_State *L)
{
  attending = lua_toboolean(L, 1) ? L : NULL;
  return 0;
}

/* interrupted() -> whether Ctrl-C was typed since the call began, and no run has taken it. */
static int terminal_interrupted(lua_State *L)
{
  lua_pushboolean(L, interrupted);
  return 1;
}

/* compiler(on) -> whether it was on. */
static int terminal_compiler(lua_State *L)
{
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "jit");
  lua_getfield(L, -1, "status");
  lua_call(L, 0, 1);
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | (lua_toboolean(L, 1) ? LUAJIT_MODE_ON : LUAJIT_MODE_OFF));
  return 1;
}

/* forget(): nobody asks any more for the signals that were caught. */
static int terminal_forget(lua_State *L)
{
  (void)L;
  signals_forget();
  return 0;
}

/* watch(): what is compiled from here on can be ended. What was compiled before is forgotten, the first time. */
static int terminal_watch(lua_State *L)
{
  if (!has_profiler()) luaJIT_profile_start(L, PROFILE_MODE, pass_over, NULL);
  return 0;
}

/* call(f, handler, ...) -> true and f's results, or false and what the message handler returned. Ctrl-C interrupts it,
   also at the place where a run would end the program at the second one. */
static int terminal_call(lua_State *L)
{
  lua_State *outer = running;
  int arguments = lua_gettop(L) - 2;
  lua_pushvalue(L, 1);
  lua_insert(L, 3); /* f, handler, f, ... */
  signals_observe(arm);
  running = L;
  vain_presses = 0;
  struct sigaction before = on_signal(SIGINT, arm);
  if (interrupted) arm(SIGINT); /* typed after the statement, before it began */
  int status = lua_pcall(L, arguments, LUA_MULTRET, 2);
  sigaction(SIGINT, &before, NULL);
  signals_changed();
  running = outer;
  lua_sethook(L, NULL, 0, 0);
  interrupted = 0;
  signals_grace(SIGINT, false); /* a loop over a stream that was left needs no second Ctrl-C */
  lua_pushboolean(L, status == 0);
  lua_replace(L, 2);
  return lua_gettop(L) - 1;
}

/* --- the terminal ----------------------------------------------------------------------------------------------- */

/* size() -> columns and rows of the terminal. */
static int terminal_size(lua_State *L)
{
  struct winsize size = {0};
  bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  lua_pushinteger(L, known && size.ws_col > 0 ? size.ws_col : 80);
  lua_pushinteger(L, known && size.ws_row > 0 ? size.ws_row : 24);
  return 2;
}

/* is_terminal() -> whether standard input and output are one. */
static int terminal_is_terminal(lua_State *L)
{
  lua_pushboolean(L, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
  return 1;
}

static struct termios usual_mode; /* of the terminal, outside of lines that are edited */
static bool is_raw, is_usual_known;
static pid_t raw_owner; /* the process that has set it */

/* Takes the terminal's mode for the usual one: before libedit, which sets one of its own, begins a line. */
static void learn_usual(void)
{
  is_usual_known = tcgetattr(STDIN_FILENO, &usual_mode) == 0;
}

/* Keys come one by one, Ctrl-C and Ctrl-Z as keys. */
static bool set_raw(void)
{
  if (is_raw) return true;
  if (!is_usual_known) return false;
  struct termios mode = usual_mode;
  mode.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | IXON | ISTRIP | BRKINT);
  mode.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
  mode.c_cc[VMIN] = 1;
  mode.c_cc[VTIME] = 0;
  is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &mode) == 0;
  raw_owner = getpid();
  return is_raw;
}

static void set_usual(void)
{
  if (is_usual_known) tcsetattr(STDIN_FILENO, TCSADRAIN, &usual_mode);
  is_raw = false;
}

/* At the end of the program, wherever that comes. */
static void leave_terminal(void)
{
  if (is_raw && raw_owner == getpid()) set_usual();
}

/* Ctrl-C that was typed after the end of the line, and came as a key, is noted; other keys are left for the next line.
   From here on Ctrl-C is a signal again. Pushes the keys. */
static void take_pending(lua_State *L)
{
  char bytes[4096];
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  if (is_usual_known) {
    struct termios mode = usual_mode;
    mode.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    mode.c_lflag |= ISIG;
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
  }
  ssize_t length = poll(&input, 1, 0) > 0 && input.revents & POLLIN ? read(STDIN_FILENO, bytes, sizeof bytes) : 0;
  lua_pushlstring(L, bytes, length > 0 ? (size_t)length : 0);
}

/* interrupt(): as Ctrl-C does. */
static int terminal_interrupt(lua_State *L)
{
  (void)L;
  interrupted = 1;
  return 0;
}

/* suspend(): Ctrl-Z. */
static int terminal_suspend(lua_State *L)
{
  (void)L;
  bool was_raw = is_raw;
  set_usual();
  raise(SIGTSTP); /* comes back at SIGCONT */
  if (was_raw) {
    learn_usual();
    set_raw();
  }
  return 0;
}

/* wait(seconds) -> the bytes that were typed; "" when the time is up, or the window has another size; nil at the end.
   No seconds: waits as long as it takes. */
static int terminal_wait(lua_State *L)
{
  char bytes[4096];
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  int milliseconds = lua_isnil(L, 1) ? -1 : (int)(luaL_checknumber(L, 1) * 1000);
  int ready = resized || ended ? 0 : poll(&input, 1, milliseconds);
  resized = 0;
  if (ended) return 0;
  if (ready <= 0) {
    if (ready == 0 || errno == EINTR) return lua_pushliteral(L, ""), 1;
    return 0;
  }
  ssize_t length = read(STDIN_FILENO, bytes, sizeof bytes);
  if (length < 0 && errno == EINTR) return lua_pushliteral(L, ""), 1;
  if (length <= 0 && (input.revents & POLLHUP || (length < 0 && errno == EIO))) ended = SIGHUP; /* it is gone */
  if (length <= 0) return 0;
  lua_pushlstring(L, bytes, (size_t)length);
  return 1;
}

/* Waits until there is a line on the terminal; returns false at Ctrl-C, which is blocked but for the wait. A terminal
   gives whole lines, so nothing of the next one is in stdin's own buffer. */
static bool await_line(const sigset_t *usual)
{
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  if (!isatty(STDIN_FILENO)) return true;
  while (!interrupted && ppoll(&input, 1, NULL, usual) < 0 && errno == EINTR) continue;
  return !interrupted;
}

/* read_line(prompt) -> a line without its end, read plainly; nil at the end of input; nil and true after Ctrl-C, also
   where it comes between the prompt and the wait. */
static int terminal_read_line(lua_State *L)
{
  const char *prompt = luaL_checkstring(L, 1);
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length = -1;
  sigset_t interrupt, usual;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  interrupted = 0;
  struct sigaction before = on_signal(SIGINT, note_interrupt);
  pthread_sigmask(SIG_BLOCK, &interrupt, &usual);
  fputs(prompt, stdout);
  fflush(stdout);
  bool is_there = await_line(&usual);
  pthread_sigmask(SIG_SETMASK, &usual, NULL);
  if (is_there) length = getline(&line, &capacity, stdin);
  sigaction(SIGINT, &before, NULL);
  signals_changed();
  if (length < 0) {
    free(line);
    clearerr(stdin);
    lua_pushnil(L);
    lua_pushboolean(L, interrupted);
    return 2;
  }
  if (length > 0 && line[length - 1] == '\n') length--;
  lua_pushlstring(L, line, (size_t)length);
  free(line);
  return 1;
}

/* execute(command) -> status, as os.execute gives it. system(3) ignores Ctrl-C, also before the program is there: here
   one that is typed then reaches it, and what runs it ends behind it. */
static int terminal_execute(lua_State *L)
{
  pid_t pid;
  int status = -1;
  if (input_start_shell(luaL_checkstring(L, 1), false, &pid) == 0) {
    struct sigaction before = on_signal(SIGQUIT, SIG_IGN);
    if (interrupted) kill(pid, SIGINT);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    sigaction(SIGQUIT, &before, NULL);
  }
  lua_pushinteger(L, status);
  return 1;
}

/* --- the line, in libedit --------------------------------------------------------------------------------------- */

/* From its <histedit.h>, which need not be installed. */
typedef struct editline EditLine;
struct line_info {
  const wchar_t *buffer, *cursor, *end;
};
enum { EL_EDITOR = 2, EL_GETCFN = 13 };

static struct {
  void *library; /* NULL: not open */
  EditLine *line;
  EditLine *(*init)(const char *program, FILE *in, FILE *out, FILE *error, int in_fd, int out_fd, int error_fd);
  int (*set)(EditLine *line, int option, ...);
  int (*source)(EditLine *line, const char *path);
  const wchar_t *(*gets)(EditLine *line, int *length);
  const struct line_info *(*info)(EditLine *line);
  int (*insert)(EditLine *line, const wchar_t *text);
  void (*delete)(EditLine *line, int before_cursor);
  int (*move)(EditLine *line, int by);
  int (*get)(EditLine *line, int option, ...);
} editor;

static lua_State *asking; /* whose function `edit` gives libedit its keys; at index 1 */
static bool asked_to_end; /* it gave none: the line has ended */

/* libedit asks for a character: an el_rfunc_t. */
static int next_character(EditLine *line, wchar_t *character)
{
  (void)line;
  lua_State *L = asking;
  if (ended) return -1; /* however much has been typed that nobody has looked at */
  set_raw();
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 0, 1, 0) != 0) return -1; /* the message stays on the stack for `edit` */
  bool ends = asked_to_end = !lua_isnumber(L, -1);
  if (!ends) *character = (wchar_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return ends ? -1 : 1;
}

/* Sets a function pointer from libedit; false when it has no such function. */
static bool find(const char *name, void *function)
{
  void *found = dlsym(editor.library, name);
  memcpy(function, &found, sizeof found);
  return found != NULL;
}

/* open() -> whether there is an editor. */
static int terminal_open(lua_State *L)
{
  if (!editor.library) {
    editor.library = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!editor.library)
      editor.library = dlopen("libedit.so.0", RTLD_NOW | RTLD_LOCAL); /* its name outside of Debian */
    FILE *nowhere = editor.library ? fopen("/dev/null", "we") : NULL;
    bool complete = nowhere && find("el_init_fd", &editor.init) && find("el_wset", &editor.set) &&
                    find("el_source", &editor.source) && find("el_wgets", &editor.gets) &&
                    find("el_wline", &editor.info) && find("el_winsertstr", &editor.insert) &&
                    find("el_deletestr", &editor.delete) && find("el_cursor", &editor.move) &&
                    find("el_wget", &editor.get);
    if (complete)
      editor.line = editor.init("parlua", stdin, nowhere, nowhere, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
    if (editor.line) {
      editor.set(editor.line, EL_EDITOR, L"emacs");
      editor.set(editor.line, EL_GETCFN, next_character);
      editor.source(editor.line, NULL);
      atexit(leave_terminal);
    }
  }
  lua_pushboolean(L, editor.line != NULL);
  return 1;
}

/* is_emacs() -> whether keys that write characters do just that: not so in vi's commands. */
static int terminal_is_emacs(lua_State *L)
{
  const wchar_t *name = NULL;
  lua_pushboolean(L, editor.get(editor.line, EL_EDITOR, &name) == 0 && name && wcscmp(name, L"emacs") == 0);
  return 1;
}

/* edit(next): has libedit edit a new line until next(), which it calls for each character, returns nil. Returns the
   bytes that were typed since. */
static int terminal_edit(lua_State *L)
{
  int length;
  lua_settop(L, 1);
  lua_State *outer = asking;
  asking = L;
  interrupted = 0;
  struct sigaction before = on_signal(SIGWINCH, note_resize);
  struct sigaction before_term = on_signal(SIGTERM, note_end), before_hup = on_signal(SIGHUP, note_end);
  learn_usual();
  do {
    editor.gets(editor.line, &length); /* returns at a key that libedit takes for the end of the line, too */
    is_raw = false;                    /* it has left its own mode for the one that it found */
  } while (lua_gettop(L) == 1 && length >= 0 && !asked_to_end);
  sigaction(SIGWINCH, &before, NULL);
  sigaction(SIGTERM, &before_term, NULL);
  sigaction(SIGHUP, &before_hup, NULL);
  signals_changed();
  take_pending(L);
  set_usual();
  asking = outer;
  if (ended) raise(ended);
  ended = 0;
  if (lua_gettop(L) == 2) return 1;
  lua_pop(L, 1);
  return lua_error(L);
}

/* Appends a character to UTF-8 text; returns the end. */
static char *put_utf8(char *at, uint32_t c)
{
  if (c < 0x80) return *at++ = (char)c, at;
  int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
  *at++ = (char)(first[more] | c >> 6 * more);
  while (more-- > 0) *at++ = (char)(0x80 | (c >> 6 * more & 0x3f));
  return at;
}

/* line() -> the text of the line, and how many of its bytes stand before the cursor. */
static int terminal_line(lua_State *L)
{
  const struct line_info *info = editor.info(editor.line);
  char *text = lua_newuserdata(L, 4 * (size_t)(info->end - info->buffer) + 1), *end = text, *cursor = text;
  for (const wchar_t *c = info->buffer; c < info->end; c++) {
    if (c == info->cursor) cursor = end;
    end = put_utf8(end, (uint32_t)*c & 0x1fffff);
  }
  if (info->cursor >= info->end) cursor = end;
  lua_pushlstring(L, text, (size_t)(end - text));
  lua_pushinteger(L, cursor - text);
  return 2;
}

/* The length in bytes of the well-formed UTF-8 character at `at`, which goes to *c; a byte that begins none stands for
   itself as U+FFFD. */
static size_t get_utf8(const unsigned char *at, size_t left, wchar_t *c)
{
  int more = at[0] < 0x80                    ? 0
             : at[0] >= 0xc2 && at[0] < 0xe0 ? 1
             : at[0] >= 0xe0 && at[0] < 0xf0 ? 2
             : at[0] >= 0xf0 && at[0] < 0xf5 ? 3
                                             : -1;
  *c = 0xfffd;
  if (more < 0 || (size_t)more >= left) return 1;
  uint32_t value = more == 0 ? at[0] : at[0] & (0x3fu >> more);
  for (int k = 1; k <= more; k++) {
    if ((at[k] & 0xc0) != 0x80) return 1;
    value = value << 6 | (at[k] & 0x3f);
  }
  *c = (wchar_t)value;
  return (size_t)more + 1;
}

/* set_line(text, cursor): another text; `cursor` as `line` gives it. */
static int terminal_set_line(lua_State *L)
{
  size_t length, count = 0, before = 0;
  const unsigned char *text = (const unsigned char *)luaL_checklstring(L, 1, &length);
  size_t cursor = (size_t)luaL_checkinteger(L, 2);
  wchar_t *wide = lua_newuserdata(L, (length + 1) * sizeof *wide);
  for (size_t at = 0; at < length;) {
    if (at == cursor) before = count;
    at += get_utf8(text + at, length - at, &wide[count]);
    if (wide[count] == 0) wide[count] = 0xfffd;
    count++;
  }
  if (cursor >= length) before = count;
  wide[count] = 0;
  const struct line_info *info = editor.info(editor.line);
  int old = (int)(info->end - info->buffer);
  editor.move(editor.line, (int)(info->end - info->cursor));
  if (old > 0) editor.delete(editor.line, old);
  if (count > 0 && editor.insert(editor.line, wide) == 0) editor.move(editor.line, -(int)(count - before));
  return 0;
}

/* apart(): in a worker, takes it and the programs that it will run out of the group of processes to which the terminal
   sends Ctrl-C. */
static int terminal_apart(lua_State *L)
{
  (void)L;
  if (getpgrp() != getpid()) setpgid(0, 0);
  return 0;
}

int luaopen_parlua_terminal(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"apart", terminal_apart},
      {"attend", terminal_attend},
      {"call", terminal_call},
      {"compiler", terminal_compiler},
      {"disarm", terminal_disarm},
      {"edit", terminal_edit},
      {"execute", terminal_execute},
      {"forget", terminal_forget},
      {"guard", terminal_guard},
      {"interrupt", terminal_interrupt},
      {"interrupted", terminal_interrupted},
      {"is_emacs", terminal_is_emacs},
      {"is_terminal", terminal_is_terminal},
      {"line", terminal_line},
      {"open", terminal_open},
      {"read_line", terminal_read_line},
      {"set_line", terminal_set_line},
      {"size", terminal_size},
      {"suspend", terminal_suspend},
      {"wait", terminal_wait},
      {"watch", terminal_watch},
      {NULL, NULL},
  };
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
