import type { WorkRow } from '../tracing/gpu/collector.ts'
import { type Occupancy, theoreticalOccupancy } from './occupancy.ts'
import type { Gpu } from './profile.ts'
import type { Counters, ProfiledLayer, ProfiledWork } from './schema.ts'

const round = (value: number): number => Number(value.toPrecision(6))

/** Counters of a launch, if they were read: by step, name, and how it is computed. */
export type CountersOf = (step: number, launch: string, how: string) => Counters | undefined

/** Rows by what they have in common, in the order of their time. */
function grouped(rows: readonly WorkRow[], key: (row: WorkRow) => string): WorkRow[][] {
  const groups = new Map<string, WorkRow[]>()
  for (const row of rows) {
    const group = groups.get(key(row))
    if (group) group.push(row)
    else groups.set(key(row), [row])
  }
  return [...groups.values()]
}

const sum = (rows: readonly WorkRow[], of: (row: WorkRow) => number): number =>
  rows.reduce((total, row) => total + of(row), 0)

/** What kernels have in common weighs as much as they take. */
function weighted(rows: readonly WorkRow[], of: (row: WorkRow) => number | undefined): number | undefined {
  const known = rows.flatMap(row => {
    const value = of(row)
    return value === undefined ? [] : [{ value, weight: row.ownNs }]
  })
  const weights = known.reduce((total, { weight }) => total + weight, 0)
  if (weights === 0) return undefined
  return known.reduce((total, { value, weight }) => total + value * weight, 0) / weights
}

/** How often a launch ran: with the kernels that each of its ways needs, it counts once. */
const callsOf = (rows: readonly WorkRow[]): number =>
  grouped(rows, ({ how }) => how!).reduce((total, of) => total + Math.max(...of.map(({ calls }) => calls)), 0)

/** By what a launch was computed most of its time; for other numbers of clips it may have been something else. */
const mostly = (rows: readonly WorkRow[]): string =>
  grouped(rows, ({ how }) => how!)
    .map(of => ({ how: of[0]!.how!, ns: sum(of, row => row.ownNs) }))
    .reduce((most, other) => (other.ns > most.ns ? other : most)).how

/** What GPUs of a run did, put together by kernel, by launch and by layer. */
export class WorkTables {
  readonly #allNs: ReadonlyMap<number, number>

  constructor(
    readonly rows: readonly WorkRow[],
    readonly gpus: ReadonlyMap<number, Gpu>,
    readonly counters: CountersOf,
  ) {
    this.#allNs = new Map(
      [...gpus.keys()].map(gpu => [
        gpu,
        sum(
          rows.filter(({ device }) => device === gpu),
          row => row.ownNs,
        ),
      ]),
    )
  }

  /** Own time of all work of a GPU. */
  ownNs(gpu: number): number {
    return this.#allNs.get(gpu) ?? 0
  }

  kernels(): ProfiledWork[] {
    return grouped(this.rows, ({ device, kind, name, how }) => `${device} ${kind} ${how} ${name}`)
      .map(rows => {
        const { device, kind, name, how } = rows[0]!
        return {
          device: `cuda:${device}`,
          kind,
          name,
          ...(how !== undefined && { how }),
          ...this.#work(
            rows,
            sum(rows, row => row.calls),
          ),
          span_us: round(sum(rows, row => row.totalNs) / 1e3 / sum(rows, row => row.calls)),
          min_us: round(Math.min(...rows.map(row => row.minNs)) / 1e3),
          max_us: round(Math.max(...rows.map(row => row.maxNs)) / 1e3),
        }
      })
      .sort((a, b) => b.own_ms - a.own_ms)
  }

  layers(): ProfiledLayer[] {
    const rows = this.rows.filter(row => row.layer !== undefined && row.step !== undefined)
    return grouped(rows, ({ device, step, layer }) => `${device} ${step} ${layer}`)
      .map(of => this.#layer(of))
      .sort((a, b) => a.device.localeCompare(b.device) || a.step - b.step || a.layer - b.layer)
  }

  #layer(rows: readonly WorkRow[]): ProfiledLayer {
    const { device, step, layer } = rows[0]!
    const launches = grouped(rows, ({ launch }) => launch!).map(of => ({
      name: of[0]!.launch!,
      how: mostly(of),
      ...this.#work(of, callsOf(of)),
    }))
    const work = this.#work(rows, Math.max(...launches.map(({ calls }) => calls)))
    const { peaks, precision } = this.gpus.get(device)!
    const peak = peaks.tflops?.[precision(step!)]
    return {
      device: `cuda:${device}`,
      step: step!,
      layer: layer!,
      ...work,
      ...(peak && work.tflops !== undefined && { tflops_of_peak: round(work.tflops / peak) }),
      ...(peaks.gbPerS > 0 &&
        work.gb_per_s !== undefined && { gb_per_s_of_peak: round(work.gb_per_s / peaks.gbPerS) }),
      launches,
    }
  }

  #occupancy(row: WorkRow): Occupancy | undefined {
    return row.shape && theoreticalOccupancy(row.shape, this.gpus.get(row.device)!.limits)
  }

  /** @param calls how often: of a layer, as often as its launches */
  #work(rows: readonly WorkRow[], calls: number) {
    const ownNs = sum(rows, row => row.ownNs)
    const flops = sum(rows, row => row.flops)
    const bytes = sum(rows, row => row.bytes)
    const occupancy = weighted(rows, row => this.#occupancy(row)?.share)
    const longest = rows.toSorted((a, b) => b.ownNs - a.ownNs)[0]!
    const limit = this.#occupancy(longest)?.limit
    const counted = (of: keyof Counters) =>
      weighted(rows, row =>
        row.step === undefined || row.launch === undefined || row.kind !== 'kernel'
          ? undefined
          : this.counters(row.step, row.launch, row.how!)?.[of],
      )
    const achieved = counted('occupancy')
    return {
      calls,
      own_ms: round(ownNs / 1e6),
      mean_us: round(ownNs / 1e3 / calls),
      share: round(ownNs / Math.max(1, this.ownNs(longest.device))),
      ...(flops > 0 && ownNs > 0 && { tflops: round(flops / ownNs / 1e3) }),
      ...(bytes > 0 && ownNs > 0 && { gb_per_s: round(bytes / ownNs) }),
      ...(occupancy !== undefined && { occupancy: round(occupancy), limit }),
      ...(achieved !== undefined && {
        counters: {
          occupancy: round(achieved),
          tensor: round(counted('tensor')!),
          dram: round(counted('dram')!),
        },
      }),
    }
  }
}
