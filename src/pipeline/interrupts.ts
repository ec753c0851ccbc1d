import { readdirSync, readFileSync } from 'node:fs'
import { allowCpus, allowedCpus } from '../../ffi/affinity.ts'

/** Interrupts that GPUs have made since the host started: by line of /proc/interrupts, and by CPU. */
export type GpuInterrupts = ReadonlyMap<string, ReadonlyMap<number, number>>

/** Those of NVIDIA's driver (proc_interrupts(5)): a header that names CPUs; then lines of a number, counts, and who is told. */
export function gpuInterruptsOf(text: string): GpuInterrupts {
  const [header = '', ...lines] = text.split('\n')
  const cpus = [...header.matchAll(/CPU(\d+)/g)].map(([, cpu]) => Number(cpu))
  return new Map(
    lines.flatMap(line => {
      const [name = '', ...words] = line.trim().split(/\s+/)
      if (!words.slice(cpus.length).some(word => /^nvidia\b/.test(word))) return []
      return [[name, new Map(cpus.map((cpu, at) => [cpu, Number(words[at])]))] as const]
    }),
  )
}

/** Fewer are what asking for a GPU's name brings; decoding a single clip makes more. */
const LEAST = 20

/** CPUs that served most of a line's interrupts between two readings, of lines that had some. */
export function servingCpus(before: GpuInterrupts, after: GpuInterrupts): number[] {
  const serving = [...after].flatMap(([name, counts]) => {
    const known = before.get(name)
    const grown = [...counts].map(([cpu, count]) => ({ cpu, more: count - (known?.get(cpu) ?? 0) }))
    const most = grown.reduce((a, b) => (b.more > a.more ? b : a), { cpu: 0, more: 0 })
    return most.more >= LEAST ? [most.cpu] : []
  })
  return [...new Set(serving)].sort((a, b) => a - b)
}

/** What a thread keeps of its CPUs, at least: where they are few, even one with interrupts is worth more than none. */
const KEPT = 0.75

/**
 * Has all threads of this process, and those that they start, run on other CPUs than these.
 * @param kept share of its CPUs that a thread must be left with
 * @returns whether any of them does now
 */
export function keepOff(cpus: readonly number[], kept = KEPT): boolean {
  let any = false
  for (const name of readdirSync('/proc/self/task')) {
    const own = allowedCpus(Number(name)) ?? []
    const rest = own.filter(cpu => !cpus.includes(cpu))
    if (rest.length < own.length && rest.length >= kept * own.length)
      any = allowCpus(rest, Number(name)) || any
  }
  return any
}

/** RNB_AVOID_INTERRUPTS=0 leaves threads where the scheduler puts them, to compare or to get by. */
const wanted = (): boolean => process.env.RNB_AVOID_INTERRUPTS !== '0'

const ofHost = (): GpuInterrupts => {
  try {
    return gpuInterruptsOf(readFileSync('/proc/interrupts', 'utf8'))
  } catch {
    // Not everybody may look.
    return new Map()
  }
}

/**
 * Which CPUs a GPU interrupts. An engine does so at each picture that it decodes, 20,000 times a second on an H100, and always the
 * same CPU: who computes there gets an eighth of it (bench/NOTES.md). The scheduler does not mind interrupts, so each thread would
 * be the one that is so unlucky now and then.
 */
export class InterruptWatch {
  readonly #before: GpuInterrupts

  /** @param kept as `keepOff` */
  constructor(
    readonly read = ofHost,
    readonly kept = KEPT,
  ) {
    this.#before = read()
  }

  /** Has all threads keep off CPUs that have served GPUs since this was made. @returns a sentence on it, if there are any */
  keepOff(): string | undefined {
    if (!wanted()) return undefined
    const cpus = servingCpus(this.#before, this.read())
    if (cpus.length === 0 || !keepOff(cpus, this.kept)) return undefined
    const which = `CPU${cpus.length > 1 ? 's' : ''} ${cpus.join(', ')}`
    return `threads keep off ${which}, which serve${cpus.length > 1 ? '' : 's'} what GPUs interrupt the host for`
  }
}
