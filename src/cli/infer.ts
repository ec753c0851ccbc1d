import { checkRunFlags } from './arguments.ts'
import { run } from './run.ts'

/**
 * `rnb infer VIDEO...`: each of these videos once, all at once, a JSON line for each.
 * @returns the exit status
 */
export function infer(videos: readonly string[], flags: Record<string, unknown>): Promise<number> {
  return run(
    checkRunFlags({
      ...flags,
      mean_interval_ms: 0,
      batch_size: 1,
      max_batch_delay_ms: 5,
      queue_size: Math.max(1, videos.length),
      per_gpu_queue: false,
      check: false,
      on_full: 'abort',
      warmup: 0,
      arrival: 'bulk',
      results: '-',
    }),
    videos,
  )
}
