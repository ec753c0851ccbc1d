import { textTable } from '../results/table.ts'
import type { Profile, ProfiledLayer, ProfiledWork } from './schema.ts'

const LAYERS = ['', 'stem', 'stage 1', 'stage 2', 'stage 3', 'stage 4']
/** Kernels' names can be long: what tells them apart is mostly at the beginning. */
const NAME_LENGTH = 64

/** Kernels in the table: what remains is little. */
const MOST_KERNELS = 20

const percent = (share: number | undefined): string =>
  share === undefined ? '-' : `${(100 * share).toFixed(1)} %`
const figure = (value: number | undefined, digits: number): string =>
  value === undefined ? '-' : value.toFixed(digits)
const cut = (text: string): string =>
  text.length > NAME_LENGTH ? `${text.slice(0, NAME_LENGTH - 3)}...` : text

type Work = Omit<ProfiledWork, 'device' | 'kind' | 'name' | 'how' | 'span_us' | 'min_us' | 'max_us'>

const WORK_COLUMNS = ['calls', 'ms', 'mean us', 'share', 'TFLOP/s', 'GB/s', 'occupancy', 'by']
const COUNTER_COLUMNS = ['achieved', 'tensor', 'DRAM']

const workCells = (work: Work, counted: boolean): string[] => [
  String(work.calls),
  work.own_ms.toFixed(2),
  work.mean_us.toFixed(1),
  percent(work.share),
  figure(work.tflops, 1),
  figure(work.gb_per_s, 0),
  percent(work.occupancy),
  work.limit ?? '-',
  ...(counted
    ? [percent(work.counters?.occupancy), percent(work.counters?.tensor), percent(work.counters?.dram)]
    : []),
]

function stepsTable({ steps }: Profile): string {
  const rows = steps.flatMap(({ step, kind, name, threads, calls, busy_ms, mean_ms, share, parts }) => [
    [
      `step ${step} (${name ?? kind})`,
      String(threads),
      String(calls),
      busy_ms.toFixed(1),
      mean_ms.toFixed(3),
      percent(share),
    ],
    ...parts.map(part => [
      `  ${part.name}`,
      '',
      String(part.calls),
      part.total_ms.toFixed(1),
      part.mean_ms.toFixed(3),
      '',
    ]),
  ])
  return textTable([['step', 'threads', 'calls', 'ms', 'mean ms', 'busy'], ...rows])
}

function kernelsTable({ kernels }: Profile, device: string, counted: boolean): string {
  const all = kernels.filter(kernel => kernel.device === device)
  const rest = all.slice(MOST_KERNELS)
  const rows = all
    .slice(0, MOST_KERNELS)
    .map(kernel => [
      cut(
        kernel.how === undefined || kernel.how === kernel.name
          ? kernel.name
          : `${kernel.name}, ${kernel.how}`,
      ),
      ...workCells(kernel, counted),
    ])
  const table = textTable([['kernel', ...WORK_COLUMNS, ...(counted ? COUNTER_COLUMNS : [])], ...rows])
  const share = rest.reduce((sum, kernel) => sum + kernel.share, 0)
  return rest.length === 0 ? table : `${table}\n${rest.length} more (--json): ${percent(share)}`
}

const peakCells = ({ tflops_of_peak, gb_per_s_of_peak }: ProfiledLayer): string[] => [
  percent(tflops_of_peak),
  percent(gb_per_s_of_peak),
]

function layersTable({ layers }: Profile, device: string, counted: boolean): string {
  const rows = layers
    .filter(layer => layer.device === device)
    .flatMap(layer => [
      [
        `step ${layer.step}, layer ${layer.layer} (${LAYERS[layer.layer]})`,
        ...workCells(layer, counted),
        ...peakCells(layer),
      ],
      ...layer.launches.map(launch => [
        `  ${cut(`${launch.name}, ${launch.how}`)}`,
        ...workCells(launch, counted),
        '',
        '',
      ]),
    ])
  const head = ['layer', ...WORK_COLUMNS, ...(counted ? COUNTER_COLUMNS : []), 'of peak', 'of peak GB/s']
  return textTable([head, ...rows])
}

/** A profile for people. */
export function profileText(profile: Profile): string {
  const counted = profile.kernels.some(({ counters }) => counters !== undefined)
  const gpus = profile.gpus.flatMap(({ device, name, busy, peak_gb_per_s, peak_tflops }) => {
    const peak = peak_tflops ? `${peak_tflops.fp16.toFixed(0)} TFLOP/s in fp16, ` : ''
    return [
      `${device}, ${name} (at most ${peak}${peak_gb_per_s.toFixed(0)} GB/s): its streams were busy ${percent(busy)} of ${profile.seconds.toFixed(2)} s`,
      '',
      kernelsTable(profile, device, counted),
      '',
      layersTable(profile, device, counted),
      '',
    ]
  })
  const { threads_lost, gpu_dropped, overheads } = profile.records
  const notes = [
    ...(threads_lost > 0
      ? [`steps: ${threads_lost} records gave way to later ones; calls are those of the last part of the run`]
      : []),
    ...(gpu_dropped > 0 ? [`GPUs: ${gpu_dropped} records were dropped`] : []),
    ...overheads.map(
      ({ name, calls, total_ms }) => `beside: ${name}, ${calls} times, ${total_ms.toFixed(1)} ms`,
    ),
    ...profile.problems,
  ]
  return [stepsTable(profile), '', ...gpus, ...notes].join('\n').trimEnd()
}
