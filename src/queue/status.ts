/** What a queue operation returns in place of a result; all negative, so that `>= 0` means success. */

/** All producers have closed the ring and nothing is left in it. */
export const CLOSED = -1
/** The deadline passed first. */
export const TIMED_OUT = -2
/** `Control.stop` was called. */
export const STOPPED = -3
/** Nothing to be had without waiting. */
export const WOULD_BLOCK = -4
/** There is something else to do for whoever waits. */
export const ELSEWHERE = -5
