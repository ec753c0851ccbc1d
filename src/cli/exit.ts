/** Exit statuses of the program. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  queueFull: 3,
  allFailed: 4,
  interrupted: 130,
} as const
