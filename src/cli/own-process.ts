import { environmentDefault, replaceProcess } from '../../ffi/libc.ts'

/** How this program was started: its executable, or Bun with the entry point. */
export const ownCommand = (): string[] =>
  Bun.main.startsWith('/$bunfs/') ? [process.execPath] : [process.execPath, Bun.main]

/** JavaScriptCore's: whether threads of its own compile what others run. It is read once, when a process starts. */
const CONCURRENT_JIT = 'BUN_JSC_useConcurrentJIT'
/** With no more of them, the runtime's compilers keep up: 25 are at full speed within a second, 34 are not. */
const FEW_THREADS = 25

/**
 * With many threads to come, starts this program again, in its process and with its arguments, so that each thread compiles what it
 * runs; unless the environment says whether it does. Else three threads compile for all, each of which has the same code
 * compiled anew, and all wait at one lock: on two GPUs 48 threads took five seconds to get to their speed, stayed 14 % below it, and
 * ended late (bench/NOTES.md). Few are better off as it is: they need not stop to compile.
 * Does nothing more where the process can't be replaced: all works, if slower.
 */
export function compileOnManyThreads(threads: number): void {
  if (threads <= FEW_THREADS || process.env[CONCURRENT_JIT] !== undefined) return
  environmentDefault(CONCURRENT_JIT, '0')
  replaceProcess([...ownCommand(), ...process.argv.slice(2)])
}
