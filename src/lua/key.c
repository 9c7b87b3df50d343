/* key.c - see key.h. */
#include "lua/key.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

/* The output function of splitmix64: see lua/parlua/task.lua, which has the same for keys of calls in tasks. */
static uint64_t mix(uint64_t z)
{
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static uint64_t bits_of(double number)
{
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

int key_lua_of_call(lua_State *L)
{
  uint64_t key = mix(bits_of(luaL_checknumber(L, 1)) + UINT64_C(0x9e3779b97f4a7c15));
  if (!lua_isnoneornil(L, 2)) key = mix(key ^ bits_of(luaL_checknumber(L, 2)) * UINT64_C(0xd1b54a32d192ed03));
  lua_pushlstring(L, (const char *)&key, sizeof key);
  return 1;
}
