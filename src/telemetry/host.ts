import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { HostReading } from './sample.ts'

const KIB = 1024

/** Busy and all time of all cores, in the kernel's ticks (proc(5), /proc/stat). */
export function parseStat(text: string): { busy: number; all: number } {
  const line = text.split('\n').find(l => l.startsWith('cpu '))
  const ticks = line?.trim().split(/\s+/).slice(1, 9).map(Number) ?? []
  const all = ticks.reduce((sum, t) => sum + t, 0)
  const [idle = 0, ioWait = 0] = ticks.slice(3, 5)
  return { busy: all - idle - ioWait, all }
}

/** A value in KiB of /proc/meminfo or /proc/self/status, in bytes. */
export const kibibytes = (text: string, name: string): number =>
  KIB * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0)

/** Reads the host's load and this process's share of it. */
export class HostSensors {
  #last: { busy: number; all: number } | undefined
  #usage: { micros: number; atMs: number } | undefined

  read(): HostReading {
    const now = parseStat(readFileSync('/proc/stat', 'utf8'))
    const last = this.#last
    this.#last = now
    const { user, system } = process.cpuUsage()
    const usage = { micros: user + system, atMs: performance.now() }
    const before = this.#usage
    this.#usage = usage
    return {
      cpu: last && now.all > last.all ? (now.busy - last.busy) / (now.all - last.all) : null,
      processCores: before
        ? Math.min(cpus().length, (usage.micros - before.micros) / 1000 / (usage.atMs - before.atMs))
        : null,
      residentBytes: kibibytes(readFileSync('/proc/self/status', 'utf8'), 'VmRSS'),
      availableBytes: kibibytes(readFileSync('/proc/meminfo', 'utf8'), 'MemAvailable'),
    }
  }
}
