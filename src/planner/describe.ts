import { CPU } from '../steps/step.ts'
import type { Arrangement } from './types.ts'

/** `2 on gpu 0, 1 on gpu 1`. */
function placesOf(devices: readonly number[]): string {
  const counts = new Map<number, number>()
  for (const device of devices) counts.set(device, (counts.get(device) ?? 0) + 1)
  const same = new Set(counts.values()).size === 1
  const gpus = [...counts.keys()].filter(device => device !== CPU)
  if (same && gpus.length > 1) return `${counts.get(gpus[0]!)} on each of ${gpus.length} GPUs`
  return [...counts]
    .map(([device, count]) => `${count} on ${device === CPU ? 'the CPU' : `gpu ${device}`}`)
    .join(', ')
}

/** What an arrangement places where, in a line. */
export function summaryOf({ config, batch, maxBatchDelayMs, perGpuQueue }: Arrangement): string {
  const steps = config.pipeline.map(step => {
    const { model, name, start_index: first, end_index: last, queue_groups: groups } = step
    const layers = first !== undefined && (first !== 1 || last !== 5) ? ` ${first}-${last}` : ''
    const more = [
      step.in_flight !== undefined && `${step.in_flight} in flight`,
      step.cpu_decoders !== undefined && step.cpu_decoders !== 0 && `${step.cpu_decoders} CPU decoders`,
      step.share_clips === true && 'sharing clips',
      step.num_segments !== undefined && step.num_segments !== 1 && `${step.num_segments} segments`,
      groups[0]!.queue_selector !== undefined && `queues by ${groups[0]!.queue_selector}`,
    ].filter(text => text !== false)
    const detail = more.length > 0 ? ` (${more.join(', ')})` : ''
    return `${name ?? model}${layers}: ${placesOf(groups.flatMap(({ gpus }) => gpus ?? []))}${detail}`
  })
  const batches = batch > 1 ? `batches of ${batch}, ${maxBatchDelayMs} ms` : 'no batches'
  return [...steps, perGpuQueue ? `${batches}, queues for each GPU` : batches].join('; ')
}

/** How videos are decoded: where, with the host's help or without, whether threads share them, and on how many, to a factor of two. */
export function decodingOf({ config }: Pick<Arrangement, 'config'>): string {
  const [first] = config.pipeline
  const devices = first!.queue_groups.flatMap(({ gpus }) => gpus ?? [])
  const onGpu = devices.some(gpu => gpu !== CPU)
  const decoders = Number(first!.cpu_decoders ?? 0)
  const threads = devices.length * (Number(first!.in_flight ?? 1) + decoders)
  return [onGpu, decoders > 0, first!.share_clips === true, Math.floor(Math.log2(threads))].join()
}

/** Text as one word of a shell's command line. */
const word = (text: string): string =>
  /^[\w./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

/** Flags of `rnb run` for an arrangement, by their long names. */
export function flagsOf({
  batch,
  maxBatchDelayMs,
  perGpuQueue,
  queueSize,
}: Arrangement): Record<string, string> {
  return {
    batch_size: String(batch),
    max_batch_delay_ms: String(maxBatchDelayMs),
    queue_size: String(queueSize),
    ...(perGpuQueue && { per_gpu_queue: 'true' }),
  }
}

/** The command that runs a plan. */
export const commandOf = (
  file: string,
  arrangement: Arrangement,
  more: Readonly<Record<string, string>>,
): string =>
  [
    'rnb',
    'run',
    '-c',
    file,
    ...Object.entries({ ...flagsOf(arrangement), ...more }).map(([flag, value]) => `--${flag}=${value}`),
  ]
    .map(word)
    .join(' ')
