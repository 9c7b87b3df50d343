/* output.c - see output.h. */
#include "lua/output.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

#include "lua/state.h"
#include "sys/capture.h"

enum { LINE_BYTES = 8192 };

struct output {
  output_sender *send;
  void *to;
  FILE *file;
  FILE **handle; /* where it stands in the state */
  int stream;
  size_t length;              /* of the line so far */
  const volatile double *tag; /* each line begins with this task's index; NULL: it does not */
  bool in_line;               /* a tagged line has begun */
  double line_task;           /* whose it is */
  char line[LINE_BYTES];
};

static const char outputs_key = 0; /* registry: light userdata -> userdata of two struct output */

static void flush_line(struct output *output)
{
  size_t length = output->length;
  output->length = 0;
  if (length > 0) output->send(output->to, output->stream, output->line, length);
}

/* Sends whole lines, and keeps the beginning of the next. */
static void put_plain(struct output *output, const char *bytes, size_t length)
{
  const char *end = memrchr(bytes, '\n', length);
  size_t whole = end ? (size_t)(end + 1 - bytes) : 0;
  if (output->length + (whole ? whole : length) > LINE_BYTES) flush_line(output);
  if (whole > LINE_BYTES) {
    output->send(output->to, output->stream, bytes, whole);
  } else if (whole) {
    memcpy(output->line + output->length, bytes, whole);
    output->length += whole;
    flush_line(output);
  }
  bytes += whole;
  length -= whole;
  if (length > LINE_BYTES) {
    output->send(output->to, output->stream, bytes, length);
  } else {
    memcpy(output->line + output->length, bytes, length);
    output->length += length;
  }
}

/* Ends a tagged line that has begun. */
static void end_line(struct output *output)
{
  if (output->tag && output->in_line) put_plain(output, "\n", 1);
  output->in_line = false;
}

/* The same, with the task's index before each line if it is to be told; then a line is of one task. */
static void put_of_task(struct output *output, double task, const char *bytes, size_t length)
{
  if (!output->tag) {
    put_plain(output, bytes, length);
    return;
  }
  if (output->line_task != task) end_line(output);
  output->line_task = task;
  while (length > 0) {
    const char *end = memchr(bytes, '\n', length);
    size_t piece = end ? (size_t)(end + 1 - bytes) : length;
    char tag[32];
    if (!output->in_line && task > 0) put_plain(output, tag, (size_t)snprintf(tag, sizeof tag, "%.0f\t", task));
    put_plain(output, bytes, piece);
    output->in_line = !end;
    bytes += piece;
    length -= piece;
  }
}

static void put_text(struct output *output, const char *bytes, size_t length)
{
  capture_lock();
  put_of_task(output, output->tag ? *output->tag : 0, bytes, length);
  capture_unlock();
}

static ssize_t output_write(void *cookie, const char *bytes, size_t length)
{
  put_text(cookie, bytes, length);
  return (ssize_t)length;
}

/* Puts the stream into the state's handle io.NAME; returns where it stands there, or NULL. LuaJIT's file handles begin
 * with the FILE pointer, as Lua's do. */
static FILE **set_handle(lua_State *L, const char *name, FILE *file)
{
  FILE **handle = NULL;
  state_push_global(L, "io");
  lua_getfield(L, -1, name);
  if (lua_type(L, -1) == LUA_TUSERDATA) handle = lua_touserdata(L, -1);
  if (handle) {
    *handle = file;
    lua_pushlightuserdata(L, handle); /* kept alive, whatever the script does to `io` */
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
  }
  lua_pop(L, 2);
  return handle;
}

static int output_print(lua_State *L)
{
  struct output *output = lua_touserdata(L, lua_upvalueindex(1));
  int n = lua_gettop(L);
  if (!output->file) return 0; /* the state is being closed, and a finalizer prints */
  lua_getglobal(L, "tostring");
  for (int i = 1; i <= n; i++) {
    size_t length;
    lua_pushvalue(L, n + 1);
    lua_pushvalue(L, i);
    lua_call(L, 1, 1);
    const char *text = lua_tolstring(L, -1, &length);
    if (!text) return luaL_error(L, "'tostring' must return a string to 'print'");
    if (i > 1) put_text(output, "\t", 1);
    put_text(output, text, length);
    lua_pop(L, 1);
  }
  put_text(output, "\n", 1);
  return 0;
}

struct output *output_install(lua_State *L, output_sender *send, void *to, bool owns_process)
{
  cookie_io_functions_t functions = {.write = output_write};
  lua_pushlightuserdata(L, (void *)&outputs_key);
  struct output *outputs = lua_newuserdata(L, 2 * sizeof *outputs);
  memset(outputs, 0, 2 * sizeof *outputs);
  for (int i = 0; i < 2; i++) {
    outputs[i].send = send;
    outputs[i].to = to;
    outputs[i].stream = i + 1;
    outputs[i].file = fopencookie(&outputs[i], "w", functions);
    if (!outputs[i].file) continue;
    setvbuf(outputs[i].file, NULL, _IONBF, 0);
    __fsetlocking(outputs[i].file, FSETLOCKING_BYCALLER);
    outputs[i].handle = set_handle(L, i == 0 ? "stdout" : "stderr", outputs[i].file);
  }
  if (outputs[0].file && owns_process) {
    stdout = outputs[0].file;
    if (outputs[1].file) stderr = outputs[1].file;
  } else if (outputs[0].file) {
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, output_print, 1);
    lua_setglobal(L, "print");
  }
  lua_rawset(L, LUA_REGISTRYINDEX);
  return outputs;
}

void output_put(struct output *outputs, int stream, double task, const char *bytes, size_t length)
{
  put_of_task(&outputs[stream - 1], task, bytes, length);
}

double output_task(const struct output *outputs)
{
  return outputs[0].tag ? *outputs[0].tag : 0;
}

size_t output_room(const struct output *outputs, size_t room)
{
  enum { LONGEST_TAG = 24, MARK_BYTES = 4 }; /* before each line, and line ends alone may be lines */
  size_t held = 2 * (LINE_BYTES + MARK_BYTES);
  if (room <= held) return 0;
  return (room - held) / (outputs[0].tag ? 1 + LONGEST_TAG + MARK_BYTES : 2);
}

void output_forget(struct output *outputs)
{
  for (int i = 0; outputs && i < 2; i++) outputs[i].length = 0;
}

void output_tag(struct output *outputs, const volatile double *index)
{
  for (int i = 0; outputs && i < 2; i++) outputs[i].tag = index;
}

/* ---- tags of tasks that run in the script's own state ---- */

/* The script's streams, while what is printed gets tags. */
struct tagged {
  struct output outputs[2];
  FILE *own_stdout, *own_stderr;
};

static void write_own(void *to, int stream, const char *bytes, size_t length)
{
  struct tagged *tagged = to;
  fwrite(bytes, 1, length, stream == 1 ? tagged->own_stdout : tagged->own_stderr);
}

static void begin_tags(lua_State *L, struct tagged *tagged)
{
  cookie_io_functions_t functions = {.write = output_write};
  tagged->own_stdout = stdout;
  tagged->own_stderr = stderr;
  for (int i = 0; i < 2; i++) {
    struct output *output = &tagged->outputs[i];
    output->file = fopencookie(output, "w", functions);
    if (!output->file) continue;
    setvbuf(output->file, NULL, _IONBF, 0);
    output->handle = set_handle(L, i == 0 ? "stdout" : "stderr", output->file);
  }
  if (tagged->outputs[0].file) stdout = tagged->outputs[0].file;
}

/* Gives the half line to Lua: pushes it, or nil. One that is too long to be held was written in part, and ends here. */
static void push_half(lua_State *L, struct output *output)
{
  if (output->file) fflush(output->file);
  if (!output->in_line || output->length == 0) {
    end_line(output);
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, output->line, output->length);
    output->length = 0;
  }
  output->in_line = false;
}

/* Goes on with a half line, if the argument is one. */
static void take_half(lua_State *L, int argument, struct output *output)
{
  size_t length;
  const char *half = lua_tolstring(L, argument, &length);
  if (!half || length > LINE_BYTES) return;
  memcpy(output->line, half, length);
  output->length = length;
  output->in_line = true;
  output->line_task = *output->tag;
}

static void end_tags(struct tagged *tagged)
{
  output_flush(tagged->outputs);
  stdout = tagged->own_stdout;
  for (int i = 0; i < 2; i++) {
    struct output *output = &tagged->outputs[i];
    if (output->handle) *output->handle = i == 0 ? tagged->own_stdout : tagged->own_stderr;
    if (output->file) fclose(output->file);
    output->file = NULL;
    output->handle = NULL;
  }
  tagged->own_stdout = NULL;
}

/* tags(on[, ...]): tasks run from here on, or no more; see output_lua_tag. */
static int switch_tags(lua_State *L)
{
  struct tagged *tagged = lua_touserdata(L, lua_upvalueindex(1));
  bool on = lua_toboolean(L, 1);
  const char *way = on ? NULL : lua_tostring(L, 2);
  bool is_held = way && strcmp(way, "held") == 0;
  lua_settop(L, 3);
  if (on && !tagged->own_stdout) begin_tags(L, tagged);
  for (int i = 0; i < 2 && tagged->own_stdout; i++) {
    struct output *output = &tagged->outputs[i];
    if (on) take_half(L, 2 + i, output);
    if (is_held) push_half(L, output);
  }
  if (!on && tagged->own_stdout) end_tags(tagged);
  return is_held ? lua_gettop(L) - 3 : 0;
}

int output_lua_tag(lua_State *L)
{
  const volatile double *index;
  memcpy(&index, lua_topointer(L, 1), sizeof index); /* a pointer of the FFI */
  struct tagged *tagged = lua_newuserdata(L, sizeof *tagged);
  memset(tagged, 0, sizeof *tagged);
  for (int i = 0; i < 2; i++)
    tagged->outputs[i] = (struct output){.send = write_own, .to = tagged, .stream = i + 1, .tag = index};
  lua_pushcclosure(L, switch_tags, 1);
  return 1;
}

void output_flush(struct output *outputs)
{
  for (int i = 0; outputs && i < 2; i++) {
    if (!outputs[i].file) continue;
    fflush(outputs[i].file); /* the script may have given it a buffer */
    capture_lock();
    end_line(&outputs[i]);
    flush_line(&outputs[i]);
    capture_unlock();
  }
}

void output_close(struct output *outputs)
{
  output_flush(outputs);
  for (int i = 0; outputs && i < 2; i++) {
    if (!outputs[i].file) continue;
    if (outputs[i].handle) *outputs[i].handle = i == 0 ? stdout : stderr;
    if (stdout == outputs[i].file) stdout = fdopen(1, "w");
    if (stderr == outputs[i].file) stderr = fdopen(2, "w");
    fclose(outputs[i].file);
    outputs[i].file = NULL;
  }
}
