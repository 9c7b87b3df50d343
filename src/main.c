/* The command `parlua [options] script.lua [arguments]`.

   A Lua interpreter in the manner of luajit, whose options mean the same here, that also runs job scripts: scripts that
   return a table with a function `map`. The options of parlua's own (--workers, ...) are described in
   lua/parlua/options.lua, read and checked in lua/parlua/options/command.lua; here they are only recognised. Everything
   runs inside one protected call. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <malloc.h>

#include "engines/cluster.h"
#include "lua/jit_options.h"
#include "lua/rows.h"
#include "lua/state.h"
#include "lua/terminal.h"
#include "sys/guard.h"
#include "sys/signals.h"
#include "sys/streams.h"

#define PARLUA_VERSION "0.1.0"
#ifndef PARLUA_COMMIT
#define PARLUA_COMMIT "" /* the commit that it was built from, where that is known */
#endif

extern char **environ;

enum exit_status {
  EXIT_RETURNED = 0, /* the script ended; all tasks of a job returned */
  EXIT_FAILED = 1,   /* an uncaught error, as in luajit; or some tasks of a job failed */
  EXIT_WRONG = 2,    /* the command, or a job's script, is wrong: nothing was run */
  EXIT_HUNG_UP = 129,
  EXIT_INTERRUPTED = 130,
  EXIT_UNREAD = 141, /* nobody reads a job's output any more */
  EXIT_TERMINATED = 143,
};

/* An option that acts before the script does: -e, -l, -j or -O, in the order given. */
struct action {
  char letter;
  const char *value;
};

/* What the words of the command line ask for. */
struct command {
  int argc;
  char **argv;
  int script; /* index in argv of the script's name, or of -b...; argc when there is none */
  struct action *actions;
  int action_count;
  bool help;               /* -h, --help */
  bool version;            /* -v, --version */
  bool interactive;        /* -i */
  bool ignore_environment; /* -E */
  bool bytecode;           /* -b: this and all that follows is for LuaJIT's tool */
  bool own_options;        /* some of parlua's own: options.lua has them */
  bool ran_job;            /* code of -e has returned a job, which has run: there is no script */
  int status;              /* the exit status: an enum exit_status, or what a job returned */
};

/* Prints the error on top of the stack, and removes it. As in every Lua interpreter, nothing is said of error(nil). */
static void print_error(lua_State *L)
{
  const char *message = lua_tostring(L, -1);
  fflush(stdout);
  if (message) fprintf(stderr, "parlua: %s\n", message);
  lua_pop(L, 1);
}

/* The exit status for the LUA_ERR code of a load or a call; prints its error. */
static int report(lua_State *L, int lua_status)
{
  if (lua_status == 0) return EXIT_RETURNED;
  print_error(L);
  return EXIT_FAILED;
}

/* --- options that act ------------------------------------------------------------------------------------------- */

/* Runs a string of Lua. */
static int run_string(lua_State *L, const char *text, const char *chunk_name)
{
  int failed = luaL_loadbuffer(L, text, strlen(text), chunk_name);
  return report(L, failed ? failed : state_call_interruptible(L, 0, 0));
}

/* -l NAME: require(NAME). */
static int require_module(lua_State *L, const char *name)
{
  lua_getglobal(L, "require");
  lua_pushstring(L, name);
  return report(L, state_call_interruptible(L, 1, 0));
}

/* Calls a C function with a string; as in luajit, an error comes without a traceback. */
static int call_with_word(lua_State *L, lua_CFunction function, const char *word)
{
  lua_pushcfunction(L, function);
  lua_pushstring(L, word);
  return report(L, lua_pcall(L, 1, 0, 0));
}

/* --- reading the command line ----------------------------------------------------------------------------------- */

/* Says what is wrong with an option; behind one of --exec, --map, ... it may be meant as a word. */
static bool wrong_option(lua_State *L, const struct command *command, const char *format, const char *word)
{
  lua_pushfstring(L, format, word);
  state_push_from_module(L, "parlua.options.command", "advice");
  lua_pushlstring(L, word, strlen(word) < 2 ? strlen(word) : 2);
  lua_call(L, 1, 1);
  bool is_others = lua_objlen(L, -1) > 0;
  lua_concat(L, 2);
  if (command->own_options && !is_others) {
    lua_pushliteral(L, "; where it is a word itself, put -- before the words");
    lua_concat(L, 2);
  }
  print_error(L);
  return false;
}

/* The module of -l is not there; behind --exec, --map, ... -l may be meant as a word. */
static void tell_of_words(lua_State *L, const struct command *command, const char *module)
{
  if (!command->own_options) return;
  lua_pushfstring(L, "-l loads the Lua module '%s'; where it is a word itself, put -- before the words", module);
  print_error(L);
}

/* -j is LuaJIT's; in many programs it is the number of workers. */
static void tell_of_workers(lua_State *L, const char *value)
{
  if (strspn(value, "0123456789") == 0) return;
  lua_pushfstring(L, "-j %s is no mode of LuaJIT; -n %s sets the number of workers", value, value);
  print_error(L);
}

/* Gives an option of parlua's own to read_word of parlua.options.command, which keeps it in
   package.loaded["parlua.command"]. Moves `i` to the last word that it used. */
static bool read_own_option(lua_State *L, struct command *command, int *i)
{
  command->own_options = true;
  state_push_from_module(L, "parlua.options.command", "read_word");
  lua_pushstring(L, command->argv[*i]);
  lua_pushstring(L, command->argv[*i + 1]); /* nil at the end */
  lua_call(L, 2, 2);
  if (lua_isnil(L, -2)) {
    print_error(L);
    return false;
  }
  *i += (int)lua_tointeger(L, -2) - 1;
  lua_pop(L, 2);
  return true;
}

/* Reads an option that acts; its value is the rest of the word or else, but for -O, the next word. */
static bool read_action(lua_State *L, struct command *command, int *i)
{
  const char *word = command->argv[*i];
  const char *value = word + 2;
  if (*value == '\0' && word[1] != 'O') value = command->argv[++*i];
  if (!value) {
    const char *what = word[1] == 'e'   ? "option -e needs a value: Lua code"
                       : word[1] == 'l' ? "option -l needs a value: the name of a module"
                                        : "option -j needs a value: on, off, flush, or a module of LuaJIT such as v";
    return wrong_option(L, command, "%s", what);
  }
  command->actions[command->action_count++] = (struct action){word[1], value};
  return true;
}

/* Reads a word of letters without values, such as -iv. */
static bool read_letters(lua_State *L, struct command *command, const char *word)
{
  for (const char *letter = word + 1; *letter; letter++) {
    switch (*letter) {
    case 'h': command->help = true; break;
    case 'i': command->interactive = true; break;
    case 'v': command->version = true; break;
    case 'E': command->ignore_environment = true; break;
    default: return wrong_option(L, command, "unknown option %s; parlua --help lists the options", word);
    }
  }
  return true;
}

/* Reads one option of any kind; moves `i` to the last word that it used. */
static bool read_option(lua_State *L, struct command *command, int *i)
{
  const char *word = command->argv[*i];
  if (strcmp(word, "--help") == 0) return command->help = true;
  if (strcmp(word, "--version") == 0) return command->version = true;
  if (word[1] && strchr("-no0", word[1])) return read_own_option(L, command, i);
  if (word[1] && strchr("eljO", word[1])) return read_action(L, command, i);
  return read_letters(L, command, word);
}

/* Reads the options, up to the script's name; false after a message about a wrong one. */
static bool read_command(lua_State *L, struct command *command)
{
  int i = 1;
  for (; i < command->argc; i++) {
    const char *word = command->argv[i];
    if (word[0] != '-' || word[1] == '\0') /* a script's name, or "-" for standard input */
      break;
    if (strcmp(word, "--") == 0) {
      i++;
      break;
    }
    if (word[1] == 'b') {
      command->bytecode = true;
      break;
    }
    if (!read_option(L, command, &i)) return false;
  }
  command->script = i;
  return true;
}

/* --- the script ------------------------------------------------------------------------------------------------- */

/* The global `arg`: the script's name at 0, its words from 1, what stands before it at negative indices; without a
 * script all. */
static void set_arg(lua_State *L, const struct command *command)
{
  int zero = command->script;
  lua_createtable(L, command->argc - zero, zero + 1);
  for (int i = 0; i < command->argc; i++) {
    lua_pushstring(L, command->argv[i]);
    lua_rawseti(L, -2, i - zero);
  }
  lua_setglobal(L, "arg");
}

/* Pushes the words from the i-th on; returns how many. */
static int push_words_from(lua_State *L, const struct command *command, int i)
{
  int count = 0;
  for (; i < command->argc; i++, count++) {
    luaL_checkstack(L, 1, "too many arguments to the script");
    lua_pushstring(L, command->argv[i]);
  }
  return count;
}

/* table, key -> table[key]: a function, so that it can be called protected. */
static int index_table(lua_State *L)
{
  lua_gettable(L, 1);
  return 1;
}

/* Pushes a field of the table at `index`; nil when reading it raises, as it does in a strict module's table. */
static void push_field(lua_State *L, int index, const char *name)
{
  lua_pushvalue(L, index);
  lua_pushcfunction(L, index_table);
  lua_insert(L, -2);
  lua_pushstring(L, name);
  if (lua_pcall(L, 2, 1, 0) != 0) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
}

/* Whether the value at `index`, which the script returned, is a job: a table with `arguments`, or with a `map` where
   something else says so, words for tasks or an option of parlua's own. A module may well have a function `map`. */
static bool is_job(lua_State *L, int index, const struct command *command, int first_word)
{
  if (!lua_istable(L, index)) return false;
  push_field(L, index, "arguments");
  push_field(L, index, "map");
  bool has_arguments = !lua_isnil(L, -2), has_map = !lua_isnil(L, -1);
  lua_pop(L, 2);
  return has_arguments || (has_map && (command->own_options || first_word < command->argc));
}

static int find_check_no_job(lua_State *L)
{
  state_push_from_module(L, "parlua.options.command", "check_no_job");
  return 1;
}

/* Says so when the command line asks for what only a job has; `script`: its name, or NULL. */
static int check_no_job(lua_State *L, const struct command *command, const char *script)
{
  if (!command->own_options) return EXIT_RETURNED;
  lua_pushcfunction(L, find_check_no_job);
  if (lua_pcall(L, 0, 1, 0) != 0) return EXIT_RETURNED; /* the script has taken away the ways to find modules */
  lua_pushstring(L, script);
  lua_call(L, 1, 1);
  if (lua_isnil(L, -1)) return EXIT_RETURNED;
  print_error(L);
  return EXIT_WRONG;
}

/* Runs the job on top, with the words from the i-th on. */
static int run_job(lua_State *L, const struct command *command, int i)
{
  state_push_from_module(L, "parlua.job", "run");
  lua_insert(L, -2);
  int failed = state_call(L, 1 + push_words_from(L, command, i), 1);
  return failed ? report(L, failed) : (int)lua_tointeger(L, -1);
}

/* Runs the value on top, which the script returned, if it is a job. */
static int run_if_job(lua_State *L, const struct command *command)
{
  int job = lua_gettop(L);
  bool named = command->script < command->argc;
  if (!is_job(L, job, command, command->script + 1))
    return check_no_job(L, command, named ? command->argv[command->script] : "-");
  return run_job(L, command, command->script + 1);
}

/* Runs the script, "-" or none being standard input, and then the job if it returned one. */
static int run_script(lua_State *L, const struct command *command)
{
  bool named = command->script < command->argc;
  const char *path = named ? command->argv[command->script] : NULL;
  /* After "--" a file may be called "-". */
  if (named && strcmp(path, "-") == 0 && strcmp(command->argv[command->script - 1], "--") != 0) path = NULL;
  int failed = luaL_loadfile(L, path);
  if (failed) { /* it may be a job where the command line has options of parlua's own; else it is told as in luajit */
    int status = report(L, failed);
    return command->own_options ? EXIT_WRONG : status;
  }
  failed = state_call_interruptible(L, push_words_from(L, command, command->script + 1), 1);
  return failed ? report(L, failed) : run_if_job(L, command);
}

/* Does the code use the name parlua without giving it a value? */
static bool uses_library(const char *text)
{
  static const char name[] = "parlua";
  bool is_used = false;
  for (const char *at = text; (at = strstr(at, name)); is_used = true) {
    at += sizeof name - 1;
    const char *next = at + strspn(at, " \t\n");
    if (next[0] == '=' && next[1] != '=') return false;
  }
  return is_used;
}

/* Loads the code of -e, which has `parlua` at hand. */
static int load_code(lua_State *L, const char *text)
{
  lua_pushstring(L, uses_library(text) ? "local parlua = require 'parlua' " : ""); /* on the line of the code's first */
  lua_pushstring(L, text);
  lua_concat(L, 2);
  size_t length;
  const char *code = lua_tolstring(L, -1, &length);
  int failed = luaL_loadbuffer(L, code, length, "=(command line)");
  lua_remove(L, -2);
  return failed;
}

/* -e: runs Lua code. If it returns a job, that is run with the words of the command line, of which then none is a
 * script. */
static int run_code(lua_State *L, struct command *command, const char *text)
{
  int failed = load_code(L, text);
  if (!failed) failed = state_call_interruptible(L, 0, 1);
  if (failed) return report(L, failed);
  command->ran_job = is_job(L, lua_gettop(L), command, command->script);
  if (command->ran_job) return run_job(L, command, command->script);
  lua_pop(L, 1);
  return EXIT_RETURNED;
}

/* Runs the options that act, up to the first that goes wrong. */
static int run_actions(lua_State *L, struct command *command)
{
  int status = EXIT_RETURNED;
  for (int i = 0; i < command->action_count && status == EXIT_RETURNED; i++) {
    const char *value = command->actions[i].value;
    switch (command->actions[i].letter) {
    case 'e': status = run_code(L, command, value); break;
    case 'l':
      status = require_module(L, value);
      if (status != EXIT_RETURNED) tell_of_words(L, command, value);
      break;
    case 'j':
      status = call_with_word(L, jit_control, value);
      if (status != EXIT_RETURNED) tell_of_workers(L, value);
      break;
    case 'O': status = call_with_word(L, jit_optimize, value); break;
    }
  }
  return status;
}

/* Does the command line itself say what is to be done with each of its words: --exec, --map, ...? */
static bool is_own_job(lua_State *L, const struct command *command)
{
  if (!command->own_options) return false;
  state_push_from_module(L, "parlua.options.command", "is_own_job");
  lua_call(L, 0, 1);
  bool is_job = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return is_job;
}

/* Pushes a list of the words from the i-th on: a stack has no room for a hundred thousand files. */
static void push_word_list(lua_State *L, const struct command *command, int i)
{
  int first = i;
  lua_createtable(L, command->argc - first, 0);
  for (; i < command->argc; i++) {
    lua_pushstring(L, command->argv[i]);
    lua_rawseti(L, -2, i - first + 1);
  }
}

/* parlua merge FILES..., parlua journal FILE, ...: parlua.command.NAME.run(words). */
static int run_subcommand(lua_State *L, const struct command *command)
{
  lua_pushfstring(L, "parlua.command.%s", command->argv[command->script]);
  state_push_from_module(L, lua_tostring(L, -1), "run");
  push_word_list(L, command, command->script + 1);
  int failed = state_call(L, 1, 1);
  return failed ? report(L, failed) : (int)lua_tointeger(L, -1);
}

/* Runs such a job: parlua.command.run.run(words, has_dashes); `has_dashes`: "--" stands before the words, so that there
 * may be none. */
static int run_own_job(lua_State *L, const struct command *command)
{
  int first = command->script;
  state_push_from_module(L, "parlua.command.run", "run");
  push_word_list(L, command, first);
  lua_pushboolean(L, first > 1 && strcmp(command->argv[first - 1], "--") == 0);
  int failed = state_call(L, 2, 1);
  return failed ? report(L, failed) : (int)lua_tointeger(L, -1);
}

/* Is the first word one of parlua's own commands, and no script of that name there? A directory does not count. */
static bool is_subcommand(const struct command *command)
{
  static const char *const names[] = {"export", "journal", "merge", "report", "status"};
  struct stat found;
  if (command->script >= command->argc) return false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(command->argv[command->script], names[i]) == 0)
      return stat(names[i], &found) != 0 || S_ISDIR(found.st_mode);
  return false;
}

/* LUA_INIT: Lua code, or @ and the name of a file with it. */
static int run_lua_init(lua_State *L)
{
  const char *init = getenv(LUA_INIT);
  if (!init) return EXIT_RETURNED;
  if (init[0] != '@') return run_string(L, init, "=" LUA_INIT);
  int failed = luaL_loadfile(L, init + 1);
  return report(L, failed ? failed : state_call_interruptible(L, 0, 0));
}

/* --- the command ------------------------------------------------------------------------------------------------ */

/* -E: package.path and package.cpath as they are without LUA_PATH and LUA_CPATH. */
static void reset_paths(lua_State *L)
{
  lua_pushboolean(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaders");
  lua_pushcfunction(L, luaopen_package);
  lua_call(L, 0, 0);
  lua_setfield(L, -2, "loaders"); /* ours again */
  lua_pop(L, 1);
}

/* Pushes a list of the names of the environment's variables that begin with PARLUA_; returns how many. */
static int push_own_variables(lua_State *L)
{
  int count = 0;
  lua_newtable(L);
  for (char **variable = environ; variable && *variable; variable++) {
    if (strncmp(*variable, "PARLUA_", strlen("PARLUA_")) != 0) continue;
    if (strncmp(*variable, GUARD_VARIABLE "=", strlen(GUARD_VARIABLE "=")) == 0)
      continue; /* a task of another parlua runs this one */
    lua_pushlstring(L, *variable, strcspn(*variable, "="));
    lua_rawseti(L, -2, ++count);
  }
  return count;
}

/* Checks the values of parlua's own options, so that a wrong one stops the command before the script does anything. */
static int check_own_options(lua_State *L, const struct command *command)
{
  int variables = push_own_variables(L);
  if (!command->own_options && variables == 0) return EXIT_RETURNED;
  state_push_from_module(L, "parlua.options.command", "check");
  lua_insert(L, -2);
  lua_call(L, 1, 1);
  if (lua_isnil(L, -1)) return EXIT_RETURNED;
  print_error(L);
  return EXIT_WRONG;
}

/* Prints the version of parlua and the LuaJIT that it runs on; if `all` is asked for, the commit and the engines too.
 */
static void print_version(lua_State *L, bool all)
{
  lua_getglobal(L, "jit");
  lua_getfield(L, -1, "version");
  printf("parlua %s%s on %s", PARLUA_VERSION, all && sizeof PARLUA_COMMIT > 1 ? " (" PARLUA_COMMIT ")" : "",
         lua_tostring(L, -1));
  const struct engine_kind *const *kinds = engine_kinds();
  for (int i = 0; all && kinds[i]; i++) printf("%s %s", i ? "," : "; engines:", kinds[i]->name);
  putchar('\n');
  lua_pop(L, 2);
}

/* Prints the page of help, which is made from the table of options. */
static void print_help(lua_State *L)
{
  state_push_from_module(L, "parlua.options.command", "help");
  lua_call(L, 0, 1);
  fputs(lua_tostring(L, -1), stdout);
  lua_pop(L, 1);
}

/* The prompt, after the script if there is one: parlua.prompt.start(compiles, path, words...). Returns the script's
 * status. */
static int run_prompt(lua_State *L, const struct command *command)
{
  bool has_script = command->script < command->argc, compiles = true;
  for (int i = 0; i < command->action_count; i++)
    if (command->actions[i].letter == 'j') compiles = strcmp(command->actions[i].value, "off") != 0;
  state_push_from_module(L, "parlua.prompt", "start");
  lua_pushboolean(L, compiles);
  if (has_script) lua_pushstring(L, command->argv[command->script]);
  int failed = state_call(L, 1 + has_script + push_words_from(L, command, command->script + 1), 1);
  return failed ? report(L, failed) : (int)lua_tointeger(L, -1);
}

/* Runs what the command line asks for, once it is read. */
static int run_command(lua_State *L, struct command *command)
{
  if (command->help) {
    print_help(L);
    return EXIT_RETURNED;
  }
  if (command->bytecode) {
    lua_pushcfunction(L, jit_save);
    lua_pushlightuserdata(L, command->argv + command->script);
    return report(L, state_call(L, 1, 0));
  }
  int status = check_own_options(L, command);
  if (status == EXIT_RETURNED && !command->ignore_environment) status = run_lua_init(L);
  if (status != EXIT_RETURNED) return status;

  bool own_job = is_own_job(L, command);
  bool has_script = command->script < command->argc && !own_job;
  bool has_chunk = false;
  for (int i = 0; i < command->action_count; i++) has_chunk |= command->actions[i].letter == 'e';
  bool bare = !own_job && !has_script && !has_chunk && !command->version && !command->interactive;
  bool prompt = command->interactive || (bare && terminal_take());
  if (command->interactive) terminal_take();

  if (command->version || prompt) print_version(L, command->version);
  status = run_actions(L, command);
  if (command->ran_job) return status;
  if (status == EXIT_RETURNED && own_job) return run_own_job(L, command);
  if (status == EXIT_RETURNED && !command->interactive && is_subcommand(command)) return run_subcommand(L, command);
  if (status == EXIT_RETURNED && prompt) return run_prompt(L, command);
  if (status == EXIT_RETURNED && (has_script || bare)) status = run_script(L, command);
  if (status == EXIT_RETURNED && !has_script && has_chunk) status = check_no_job(L, command, NULL);
  return status;
}

/* Puts the prompt where a task failed, for --debug: what runs the tasks need not know the prompt. */
static int install_debugger(lua_State *L)
{
  state_push_from_module(L, "parlua.prompt", "start"); /* it tells the debugger of itself */
  state_push_from_module(L, "parlua.prompt.debugger", "install");
  lua_call(L, 0, 0);
  return 0;
}

/* What modules get from here. package.loaded["parlua.debugger"]: the function above. package.loaded["parlua.command"]:
   the values of parlua's own options on the command line, by name; none yet. */
static void set_modules(lua_State *L)
{
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_newtable(L);
  lua_setfield(L, -2, "parlua.command");
  lua_pushcfunction(L, install_debugger);
  lua_setfield(L, -2, "parlua.debugger");
  lua_pop(L, 1);
}

/* The exit status of a program in which a run was interrupted, and not at a prompt that went on: 129, 130 or 143. */
static int interrupted_status(lua_State *L, int status)
{
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "parlua.run");
  if (!lua_istable(L, -1)) return status;
  lua_getfield(L, -1, "interrupted");
  lua_call(L, 0, 1);
  const char *signal = lua_tostring(L, -1);
  if (!signal) return status;
  return strcmp(signal, "SIGTERM") == 0  ? EXIT_TERMINATED
         : strcmp(signal, "SIGHUP") == 0 ? EXIT_HUNG_UP
                                         : EXIT_INTERRUPTED;
}

/* The program ends: submitted calls run to their end, unless Ctrl-C has ended the script, and failures that nobody has
 * looked at are told. Returns the exit status: one is what an on_error has raised. */
static int finish_futures(lua_State *L, int status)
{
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "parlua.future");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "finish");
    lua_pushboolean(L, state_was_interrupted());
    if (state_call_interruptible(L, 1, 1) != 0) print_error(L);
    if (lua_isboolean(L, -1) && lua_toboolean(L, -1) && status == EXIT_RETURNED) status = EXIT_FAILED;
  }
  return status;
}

/* All of the command, called protected. */
static int run_protected(lua_State *L)
{
  struct command *command = lua_touserdata(L, 1);
  lua_settop(L, 0);
  command->actions = lua_newuserdata(L, sizeof *command->actions * (size_t)(command->argc + 1));
  set_modules(L);
  if (!read_command(L, command)) {
    command->status = EXIT_WRONG;
    return 0;
  }
  if (command->ignore_environment) reset_paths(L);
  set_arg(L, command);
  int status = finish_futures(L, run_command(L, command));
  command->status = interrupted_status(L, status);
  return 0;
}

/* Standard output that couldn't be written, on a full disk say, must not pass for success. But a terminal refuses a
   write also when Ctrl-C comes while another process has it: what was lost so was to be seen, and not to be kept. */
static int check_output(int status)
{
  int error = fflush(stdout) == 0 ? 0 : errno;
  if (status == EXIT_UNREAD || (!error && (!ferror(stdout) || isatty(STDOUT_FILENO)))) return status;
  if (!error) error = streams_why_unwritable(STDOUT_FILENO);
  fprintf(stderr, "parlua: cannot write standard output: %s\n", error ? strerror(error) : "an earlier write failed");
  return status == EXIT_RETURNED ? EXIT_FAILED : status;
}

/* A standard stream that the caller has closed is opened the wrong way round: using it fails as before, and no file
   opened later gets its number and what is meant for it. */
static void occupy_standard_files(void)
{
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
  int status;
  if (guard_is_meant(argc, argv)) return guard_main(argv);
  signals_survive_long_files();
  if (!cluster_begin(argc, argv, &lua_row_maker, &status)) return status;
  /* Memory of blocks and large messages stays, touched (64 strings of 8 MB to a second rank and back: 0.81 s with
   * limits of 1 and 8 MB, 0.45 s with these, to which glibc's own rule would come later). */
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  /* glibc would make eight arenas for each processor, each of which keeps such memory, in pieces, as threads come and
   * go. A few do: Lua's memory does not come from there, and a thread's small blocks come from its own cache. */
  if (!getenv("MALLOC_ARENA_MAX")) mallopt(M_ARENA_MAX, 4);
  occupy_standard_files();
  lua_State *L = state_new();
  if (!L) {
    fputs("parlua: cannot start: not enough memory\n", stderr);
    return EXIT_FAILED;
  }
  struct command command = {.argc = argc, .argv = argv};
  lua_pushcfunction(L, run_protected);
  lua_pushlightuserdata(L, &command);
  int failed = state_call(L, 1, 0);
  if (failed) command.status = report(L, failed);
  state_program_ends();
  state_close(L);
  status = check_output(command.status);
  cluster_end(status);
  return status;
}
