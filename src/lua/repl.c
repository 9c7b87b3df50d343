/* repl.c - see repl.h. libedit is opened when the prompt begins: a script's start pays nothing for it, and without it
   lines are read plainly. Its callback interface is used, not its readline(): that one can't be interrupted cleanly. */
#include "lua/repl.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "lua/state.h"
#include "sys/hub.h"

/* Lines of ~/.parlua_history: years of use stay under 100 kB. */
enum { HISTORY_LINES = 1000 };

/* What is used of libedit; `library` is NULL without it. */
struct editor {
  void *library;
  void (*install)(const char *prompt, void (*take_line)(char *line));
  void (*read_char)(void);
  void (*remove)(void);
  void (*replace_line)(const char *text, int clear_undo);
  int (*add_history)(const char *line);
  int (*write_history)(const char *path);
  char *history_path;
};

/* How the reading of a line ended. */
enum outcome { LINE_READ, LINE_END, LINE_INTERRUPTED };

/* Neither a signal handler nor libedit's callback is passed a context. */
static volatile sig_atomic_t interrupted;
static lua_State *volatile running; /* what Ctrl-C is to interrupt */
static char *line_taken;
static bool line_complete;

/* --- Ctrl-C ----------------------------------------------------------------------------------------------------- */

/* SIGINT while a line is typed. */
static void note_interrupt(int signal)
{
  (void)signal;
  interrupted = 1;
}

/* The hook that ends what runs. */
static void raise_interrupted(lua_State *L, lua_Debug *ar)
{
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted");
}

/* SIGINT while Lua runs, as in lua.c: raises at the next call, return or instruction. Compiled loops don't look at
   hooks, so a second Ctrl-C has its default effect. */
static void interrupt_running(int signal)
{
  (void)signal;
  lua_sethook(running, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

/* Sets what SIGINT does; `flags` of sigaction. Returns what it did before. */
static struct sigaction on_interrupt(void (*handler)(int), int flags)
{
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, before;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &before);
  signals_changed();
  return before;
}

/* --- reading a line --------------------------------------------------------------------------------------------- */

/* "~/.parlua_history", for free(); NULL without a home. */
static char *history_path(void)
{
  const char *home = getenv("HOME");
  char *path = NULL;
  if (!home || asprintf(&path, "%s/.parlua_history", home) < 0) return NULL;
  return path;
}

/* Sets a function pointer from libedit; false when it has no such function. */
static bool find(const struct editor *editor, const char *name, void *function)
{
  void *found = dlsym(editor->library, name);
  memcpy(function, &found, sizeof found);
  return found != NULL;
}

/* Opens libedit and the history, where there is one and standard input is a terminal. */
static void editor_open(struct editor *editor)
{
  int (*read_history)(const char *path);
  void (*using_history)(void), (*stifle_history)(int lines);
  memset(editor, 0, sizeof *editor);
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return;
  editor->library = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL);
  if (!editor->library) return;
  if (!find(editor, "rl_callback_handler_install", &editor->install) ||
      !find(editor, "rl_callback_read_char", &editor->read_char) || !find(editor, "rl_callback_handler_remove", &editor->remove) ||
      !find(editor, "rl_replace_line", &editor->replace_line) || !find(editor, "add_history", &editor->add_history) ||
      !find(editor, "write_history", &editor->write_history) || !find(editor, "read_history", &read_history) ||
      !find(editor, "using_history", &using_history) || !find(editor, "stifle_history", &stifle_history)) {
    dlclose(editor->library);
    editor->library = NULL;
    return;
  }
  using_history();
  stifle_history(HISTORY_LINES);
  editor->history_path = history_path();
  if (editor->history_path) read_history(editor->history_path);
}

/* Writes the history. libedit stays open: it may have set handlers of its own. */
static void editor_close(struct editor *editor)
{
  if (editor->history_path) editor->write_history(editor->history_path);
  free(editor->history_path);
}

/* libedit's callback: a line for free(), or NULL at the end of input. */
static void take_line(char *line)
{
  line_taken = line;
  line_complete = true;
}

/* Reads a line with libedit. SIGINT is let in only while nothing else happens, so none is lost. */
static enum outcome edit_line(const struct editor *editor, const char *prompt, char **line)
{
  sigset_t sigint, before;
  sigemptyset(&sigint);
  sigaddset(&sigint, SIGINT);
  sigprocmask(SIG_BLOCK, &sigint, &before);
  line_complete = false;
  line_taken = NULL;
  editor->install(prompt, take_line);
  while (!line_complete && !interrupted) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int ready = ppoll(&input, 1, NULL, &before);
    if (ready < 0 && errno != EINTR) break;
    if (ready <= 0) continue;
    if (!(input.revents & POLLIN)) break; /* the terminal is gone */
    editor->read_char();
  }
  if (interrupted) editor->replace_line("", 1);
  editor->remove();
  sigprocmask(SIG_SETMASK, &before, NULL);
  *line = line_taken;
  return interrupted ? LINE_INTERRUPTED : line_taken ? LINE_READ : LINE_END;
}

/* Reads a line plainly. */
static enum outcome plain_line(const char *prompt, char **line)
{
  size_t capacity = 0;
  fputs(prompt, stdout);
  fflush(stdout);
  *line = NULL;
  ssize_t length = getline(line, &capacity, stdin);
  if (length < 0) {
    clearerr(stdin);
    return interrupted ? LINE_INTERRUPTED : LINE_END;
  }
  if (length > 0 && (*line)[length - 1] == '\n') (*line)[length - 1] = '\0';
  return LINE_READ;
}

/* Reads a line; Ctrl-C discards it. The caller frees *line, also when it is NULL. */
static enum outcome read_line(const struct editor *editor, const char *prompt, char **line)
{
  interrupted = 0;
  struct sigaction before = on_interrupt(note_interrupt, 0);
  enum outcome outcome = editor->library ? edit_line(editor, prompt, line) : plain_line(prompt, line);
  sigaction(SIGINT, &before, NULL);
  if (outcome == LINE_READ && editor->library && **line) editor->add_history(*line);
  if (outcome != LINE_READ) putchar('\n');
  return outcome;
}

/* The global _PROMPT or _PROMPT2 if the user has set it, as in lua; left on the stack. */
static const char *push_prompt(lua_State *L, bool first)
{
  lua_getglobal(L, first ? "_PROMPT" : "_PROMPT2");
  const char *prompt = lua_tostring(L, -1);
  return prompt ? prompt : first ? "> " : ">> ";
}

/* --- compiling and running -------------------------------------------------------------------------------------- */

/* Whether the syntax error on top of the stack says that the text ended too early. */
static bool is_incomplete(lua_State *L, int status)
{
  static const char mark[] = "'<eof>'";
  size_t length;
  const char *message = lua_tolstring(L, -1, &length);
  return status == LUA_ERRSYNTAX && length >= sizeof mark - 1 && strcmp(message + length - (sizeof mark - 1), mark) == 0;
}

/* Returns its arguments. */
static int identity(lua_State *L)
{
  return lua_gettop(L);
}

/* Compiles the text at index `text` as an expression if it is one, else as statements. Leaves the function or the error
   message on the stack; returns the status of luaL_loadbuffer. The function is to be called with `identity`: "return
   f()" would be a tail call, and an error in f would come without its line. */
static int compile(lua_State *L, int text)
{
  size_t length;
  lua_pushfstring(L, "return (...)(%s\n)", lua_tostring(L, text));
  const char *expression = lua_tolstring(L, -1, &length);
  int status = luaL_loadbuffer(L, expression, length, "=stdin");
  lua_remove(L, -2);
  if (status == 0) return 0;
  lua_pop(L, 1);
  const char *statements = lua_tolstring(L, text, &length);
  return luaL_loadbuffer(L, statements, length, "=stdin");
}

/* Reads lines up to a whole chunk and compiles it. On LINE_READ the function or an error message is on the stack, and
   `status` says which. */
static enum outcome read_chunk(lua_State *L, const struct editor *editor, int *status)
{
  int text = lua_gettop(L) + 1;
  for (bool first = true;; first = false) {
    char *line;
    const char *prompt = push_prompt(L, first);
    enum outcome outcome = read_line(editor, prompt, &line);
    lua_pop(L, 1);
    if (outcome == LINE_READ) lua_pushstring(L, first && line[0] == '=' ? line + 1 : line);
    free(line);
    if (outcome != LINE_READ) {
      lua_settop(L, text - 1);
      return outcome;
    }
    if (!first) {
      lua_pushliteral(L, "\n");
      lua_insert(L, -2);
      lua_concat(L, 3);
    }
    *status = compile(L, text);
    if (!is_incomplete(L, *status)) break;
    lua_pop(L, 1);
  }
  lua_remove(L, text);
  return LINE_READ;
}

/* Calls the function on top; Ctrl-C interrupts it. */
static int call_interruptible(lua_State *L)
{
  running = L;
  struct sigaction before = on_interrupt(interrupt_running, (int)SA_RESETHAND);
  lua_pushcfunction(L, identity);
  int status = state_call(L, 1, LUA_MULTRET);
  sigaction(SIGINT, &before, NULL);
  lua_sethook(L, NULL, 0, 0);
  return status;
}

/* A run that Ctrl-C ended ends what was typed, not the session. */
static void forget_interrupted_run(lua_State *L)
{
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "parlua.run");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "forget_interrupt");
    lua_call(L, 0, 0);
  }
  lua_pop(L, 2);
}

/* Prints the error on top and removes it. */
static void print_error(lua_State *L)
{
  const char *message = lua_tostring(L, -1);
  fflush(stdout);
  fprintf(stderr, "%s\n", message ? message : "(error value is nil)");
  lua_pop(L, 1);
}

/* Prints the values above `base` with the global `print`, and removes them. */
static void print_values(lua_State *L, int base)
{
  int count = lua_gettop(L) - base;
  if (count == 0) return;
  if (!lua_checkstack(L, LUA_MINSTACK)) {
    lua_settop(L, base);
    fputs("too many values to print\n", stderr);
    return;
  }
  lua_getglobal(L, "print");
  lua_insert(L, base + 1);
  if (state_call(L, count, 0) != 0) print_error(L);
}

void repl_run(lua_State *L, int variables)
{
  struct editor editor;
  if (variables < 0) variables += lua_gettop(L) + 1;
  editor_open(&editor);
  enum outcome outcome;
  int status = 0, base = lua_gettop(L);
  forget_interrupted_run(L);
  while ((outcome = read_chunk(L, &editor, &status)) != LINE_END) {
    if (outcome == LINE_INTERRUPTED) continue;
    if (status == 0 && variables) {
      lua_pushvalue(L, variables);
      lua_setfenv(L, -2);
    }
    if (status == 0) status = call_interruptible(L);
    forget_interrupted_run(L);
    if (status == 0)
      print_values(L, base);
    else
      print_error(L);
  }
  editor_close(&editor);
}
