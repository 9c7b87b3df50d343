/* stage.h - puts the arguments of tasks into blocks that are to be handed out. */
#ifndef PARLUA_STAGE_H
#define PARLUA_STAGE_H
#include <lua.h>

/* Pushes the function `place`, see stage.c. */
void stage_push(lua_State *L);

#endif
