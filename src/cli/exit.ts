import { exitNow } from '../../ffi/libc.ts'
import { hasModules } from '../steps/user/module.ts'

/** Exit statuses of the program. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  queueFull: 3,
  allFailed: 4,
  interrupted: 130,
} as const

let atOnce = false

/** Has the process end without waiting for threads that a run may leave. */
export function endAtOnce(): void {
  atOnce = true
}

const written = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise(resolve => {
    stream.write('', () => resolve())
  })

/** Ends the process, or sets the status that it will end with when nothing is left to do. */
export async function endProcess(status: number): Promise<void> {
  process.exitCode = status
  if (!atOnce && !hasModules()) return
  await Promise.all([written(process.stdout), written(process.stderr)])
  // What a module of the user's left behind (a timer, a socket) would keep the process for ever.
  if (hasModules()) process.exit()
  exitNow(status)
}
