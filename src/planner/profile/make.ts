import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeDevice } from '../../../ffi/cuda/device.ts'
import { driverNumber } from '../../../ffi/cuda/driver.ts'
import { findVideos } from '../../client/videos.ts'
import { detectHost } from '../../pipeline/host.ts'
import type { Registry } from '../../pipeline/registry.ts'
import { hostFacts } from '../../results/host.ts'
import { Runner } from '../../sweep/runner.ts'
import { VERSION } from '../../version.ts'
import type { PipelineFile } from '../types.ts'
import { cacheRoot, contentHash, ProfileFolder, videosHash } from './cache.ts'
import { experimentsOf, type Sizes } from './experiments.ts'
import { measureProfile } from './measure.ts'
import type { Profile } from './schema.ts'

export interface MakeOptions extends Sizes {
  /** Pipelines whose steps are measured, by a name for their runs: one for each way to cut and to place them. */
  files: Readonly<Record<string, PipelineFile>>
  /** That of rnb itself. */
  command: readonly string[]
  /** Undefined where steps need no videos. */
  videoRoot?: string
  weights?: string
  /** `cpu`, `cuda` or `auto`. */
  device: string
  budgetS: number
  /** Seconds that what has to be known may take, that all else may with the fit that follows, and the whole of which they are a part. */
  mostS?: number
  fittedS?: number
  wholeS?: number
  /** Whether to use, and to keep, what is measured. */
  cache: boolean
  registry: Registry
  say(line: string): void
  /** Hears of what runs the program, so that it can be stopped. */
  started?(runner: Runner): void
}

/** Powers of two below a number. */
const fewerThan = (most: number): number[] =>
  Array.from({ length: Math.max(0, Math.ceil(Math.log2(most))) }, (_, i) => 2 ** i)

/** Ranks below this one are of runs without which a step is not known at all: those of all files come first. */
const FIRST_RANK = 1
/** What else only other files have comes after the first one's crowds: without these, nothing is known of what calls share. */
const AFTER_CROWDS = 1.5

/** Where requests need no videos, they name this one. */
const NO_VIDEO = 'none'

/** The host, as far as figures depend on it. */
function aboutOf({ weights, device, videoRoot }: MakeOptions) {
  const { cpu, cores } = hostFacts()
  const host = detectHost()
  const gpus = device === 'cpu' ? 0 : host.gpus
  const videos = videoRoot === undefined ? [NO_VIDEO] : findVideos(videoRoot).map(({ path }) => path)
  return {
    videos,
    about: {
      rnb: VERSION,
      cpu,
      cores,
      gpus: Array.from({ length: gpus }, (_, gpu) => describeDevice(gpu).name),
      networks: weights === undefined ? 'random' : contentHash(weights),
      videos: videosHash(videos),
    },
    driver: gpus > 0 ? driverNumber() : undefined,
  }
}

/**
 * The profile of pipelines on this host: from the cache if everything that it depends on is as it was, else measured.
 * @returns undefined if people interrupted it: what has been measured is kept
 * @throws {UsageError} as `measureProfile` does
 */
export async function makeProfile(options: MakeOptions): Promise<Profile | undefined> {
  const { about, videos, driver } = aboutOf(options)
  const {
    files,
    batches,
    crowds,
    hostDecoders = 0,
    gpus = [],
    threads = fewerThan(about.cores),
    command,
    videoRoot,
    weights,
    device,
    budgetS,
    mostS,
    fittedS,
    wholeS,
    cache,
    registry,
    say,
  } = options
  const experiments = Object.entries(files).flatMap(([name, file], at) =>
    experimentsOf(name, file, { batches, crowds, hostDecoders, gpus, threads }).map(experiment => ({
      ...experiment,
      rank: experiment.rank + (at > 0 && experiment.rank >= FIRST_RANK ? AFTER_CROWDS : 0),
    })),
  )
  const key = { about, driver, experiments, videoRoot, weights, device }
  const root = cache ? cacheRoot() : mkdtempSync(join(tmpdir(), 'rnb-profile-'))
  try {
    const folder = ProfileFolder.within(root, key)
    const known = folder.read()
    if (known && known.measured.left.length === 0) {
      say(`profile of ${known.measured.at} from ${folder.path}`)
      return known
    }
    const runner = new Runner(command, folder.path)
    options.started?.(runner)
    const profile = await measureProfile({
      runner,
      experiments,
      flags: {
        ...(videoRoot !== undefined && { video_root: videoRoot }),
        ...(weights !== undefined && { weights }),
        device,
        on_full: 'wait',
      },
      registry,
      ...(weights !== undefined && { weights }),
      about,
      videos,
      budgetS,
      ...(mostS !== undefined && { mostS }),
      ...(fittedS !== undefined && { fittedS }),
      ...(wholeS !== undefined && { wholeS }),
      say,
    })
    if (profile) say(`profile written to ${folder.write(profile)}`)
    return profile
  } finally {
    if (!cache) rmSync(root, { recursive: true, force: true })
  }
}
