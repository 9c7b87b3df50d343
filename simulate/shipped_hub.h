/* shipped_hub.h - included in front of src/sys/hub.c when that is built beside system.c, which has a hub of its own:
 * its functions get other names, and it sleeps in virtual time. */
#ifndef SIMULATE_SHIPPED_HUB_H
#define SIMULATE_SHIPPED_HUB_H
#include <sys/epoll.h>
#include <time.h>

#define hub_open        shipped_hub_open
#define hub_open_on     shipped_hub_open_on
#define hub_close       shipped_hub_close
#define hub_bell        shipped_hub_bell
#define hub_watch       shipped_hub_watch
#define hub_unwatch     shipped_hub_unwatch
#define hub_next_ready  shipped_hub_next_ready
#define hub_sleep       shipped_hub_sleep
#define hub_ring        shipped_hub_ring
#define hub_expect_long shipped_hub_expect_long
#define hub_expect_wake shipped_hub_expect_wake
#define epoll_pwait2    virtual_pwait2

/* meet.c */
int virtual_pwait2(int poll_fd, struct epoll_event *events, int most, const struct timespec *time, const void *signals);

#endif
