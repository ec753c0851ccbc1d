/** What the threads of bench/nvdec.ts share, as 32-bit words. */

/** Threads that are warm. */
export const WARM = 0
/** Frames decoded by all. */
export const FRAMES = 1
/** 1 once all are to stop. */
export const STOP = 2
/** 1 once all may start. */
export const GO = 3
export const BOARD_WORDS = 4
