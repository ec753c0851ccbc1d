import { dlopen, FFIType } from 'bun:ffi'

const { symbols } = dlopen('libc.so.6', {
  sched_getaffinity: { args: [FFIType.i32, FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
  sched_setaffinity: { args: [FFIType.i32, FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
})

/** Room for 8192 CPUs, as many as Linux knows on x86-64 (NR_CPUS): with less than the kernel has, it refuses. */
const MASK_BYTES = 1024

/**
 * CPUs that a thread may run on, by number (sched_getaffinity(2)).
 * @param thread as in /proc/self/task; 0: the calling one
 * @returns undefined of a thread that is no more
 */
export function allowedCpus(thread = 0): number[] | undefined {
  const mask = new Uint8Array(MASK_BYTES)
  if (symbols.sched_getaffinity(thread, MASK_BYTES, mask) < 0) return undefined
  const cpus: number[] = []
  mask.forEach((byte, at) => {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) cpus.push(8 * at + bit)
  })
  return cpus
}

/**
 * Has a thread, and those that it starts from then on, run on these CPUs alone (sched_setaffinity(2)).
 * @returns whether it does: not if the thread is no more, or may run on none of them
 */
export function allowCpus(cpus: readonly number[], thread = 0): boolean {
  const mask = new Uint8Array(MASK_BYTES)
  for (const cpu of cpus) mask[cpu >> 3]! |= 1 << (cpu & 7)
  return symbols.sched_setaffinity(thread, MASK_BYTES, mask) === 0
}
