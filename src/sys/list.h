/* list.h - doubly linked lists whose links lie in what they link: to put something into a list can't fail. A link is in
 * one list at a time. */
#ifndef PARLUA_LIST_H
#define PARLUA_LIST_H
#include <stdbool.h>
#include <stddef.h>

/* In a member: its neighbours; both NULL: it is in no list. In a list: its first and last member, or itself. */
struct link {
  struct link *next, *previous;
};

/* The structure whose member `member` is at `pointer`. */
#define LIST_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct link *list)
{
  list->next = list->previous = list;
}

static inline bool list_is_empty(const struct link *list)
{
  return list->next == list;
}

static inline bool link_is_linked(const struct link *link)
{
  return link->next != NULL;
}

/* Puts the link in front of `place`, which is a member or the list itself: behind its last. */
static inline void list_insert(struct link *place, struct link *link)
{
  link->next = place;
  link->previous = place->previous;
  place->previous->next = link;
  place->previous = link;
}

static inline void list_append(struct link *list, struct link *link)
{
  list_insert(list, link);
}

static inline void list_prepend(struct link *list, struct link *link)
{
  list_insert(list->next, link);
}

/* Takes the link out of the list that it is in, if it is in one. */
static inline void link_remove(struct link *link)
{
  if (!link->next) return;
  link->next->previous = link->previous;
  link->previous->next = link->next;
  link->next = link->previous = NULL;
}

/* Takes the first member out; NULL: there is none. */
static inline struct link *list_take(struct link *list)
{
  struct link *first = list->next;
  if (first == list) return NULL;
  link_remove(first);
  return first;
}

#endif
