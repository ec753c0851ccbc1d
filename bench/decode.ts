/**
 * Frames per second of one decoding thread, against `ffmpeg -threads 1 -i FILE -f null -` on the same file, in turns.
 *
 *     bun bench/decode.ts [--json] [--repeats N] [FILE...] > bench/results/decode.json
 *
 * JSON on stdout, a table on stderr (not with --json). Both sides read packets and decode each file several times over
 * in one process, so that start-up weighs nothing: rnb reads all packets of the opened video again, ffmpeg loops
 * with -stream_loop. ffmpeg's time is what -benchmark says of its transcoding loop (rtime; utime and stime are of its
 * whole process), which begins once the file is open; rnb's begins there too. Audio is left out. The frame callback
 * only counts. Processor time is given beside the wall clock, since other work on the machine disturbs it less.
 */
import { cpus } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { median } from 'simple-statistics'
import { libav } from '../ffi/libav/library.ts'
import { LibavDecoder } from '../src/video/libav-decoder.ts'
import { openVideo } from '../src/video/open.ts'
import type { Video } from '../src/video/types.ts'

/** One measurement: frames decoded in so much time. */
interface Sample {
  frames: number
  wallS: number
  cpuS: number
}

const videos = join(import.meta.dir, '../../shared/videos')
const { values: options, positionals } = parseArgs({
  args: process.argv.slice(2),
  options: { json: { type: 'boolean' }, repeats: { type: 'string', default: '7' } },
  allowPositionals: true,
})
const files =
  positionals.length > 0
    ? positionals
    : ['kinetics-340x256-h264.mp4', 'phone-1920x1080-h264.mp4'].map(name => join(videos, name))
const repeats = Number(options.repeats)

async function ours(decoder: LibavDecoder, video: Video, loops: number): Promise<Sample> {
  const wanted = Array.from({ length: video.frames }, (_, index) => index)
  let frames = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  for (let loop = 0; loop < loops; loop++) {
    await decoder.decode(video.info, video.packets(wanted), wanted, () => {
      frames++
    })
  }
  const wallS = (performance.now() - start) / 1e3
  const { user, system } = process.cpuUsage(cpu)
  return { frames, wallS, cpuS: (user + system) / 1e6 }
}

function command(file: string, loops: number): string[] {
  const loop = ['-stream_loop', String(loops - 1)]
  return ['ffmpeg', '-nostdin', '-benchmark', '-threads', '1', ...loop, '-i', file, '-an', '-f', 'null', '-']
}

function theirs(file: string, loops: number): Sample {
  const { stderr, exitCode } = Bun.spawnSync(command(file, loops))
  const said = stderr.toString()
  const times = /utime=([\d.]+)s stime=([\d.]+)s rtime=([\d.]+)s/.exec(said)
  const frames = [...said.matchAll(/frame=\s*(\d+)/g)].at(-1)
  if (exitCode !== 0 || !times || !frames) throw new Error(`ffmpeg failed: ${said.slice(-2000)}`)
  return { frames: Number(frames[1]), wallS: Number(times[3]), cpuS: Number(times[1]) + Number(times[2]) }
}

const perSecond = (samples: Sample[], time: 'wallS' | 'cpuS') => median(samples.map(s => s.frames / s[time]))

async function measure(file: string) {
  const decoder = new LibavDecoder()
  const video = await openVideo(file)
  // Warm up, and find how often to loop for a second or two.
  await ours(decoder, video, 1)
  const once = await ours(decoder, video, 1)
  const loops = Math.max(2, Math.ceil(1.5 / once.wallS))
  const rnb: Sample[] = []
  const ffmpeg: Sample[] = []
  for (let repeat = 0; repeat < repeats; repeat++) {
    rnb.push(await ours(decoder, video, loops))
    ffmpeg.push(theirs(file, loops))
  }
  video.close()
  decoder.close()
  return {
    file: basename(file),
    loops,
    rnbFramesPerS: perSecond(rnb, 'wallS'),
    ffmpegFramesPerS: perSecond(ffmpeg, 'wallS'),
    ratio: perSecond(rnb, 'wallS') / perSecond(ffmpeg, 'wallS'),
    rnbFramesPerCpuS: perSecond(rnb, 'cpuS'),
    ffmpegFramesPerCpuS: perSecond(ffmpeg, 'cpuS'),
    cpuRatio: perSecond(rnb, 'cpuS') / perSecond(ffmpeg, 'cpuS'),
    ffmpegCommand: command(basename(file), loops).join(' '),
  }
}

const results = []
for (const file of files) results.push(await measure(file))
const ffmpegVersion = Bun.spawnSync(['ffmpeg', '-version']).stdout.toString().split('\n')[0]
console.log(
  JSON.stringify(
    {
      benchmark: 'decode',
      command: 'bun bench/decode.ts',
      date: new Date().toISOString(),
      machine: { processor: cpus()[0]?.model, threads: cpus().length },
      versions: {
        bun: Bun.version,
        libav: libav().version,
        libavcodec: libav().codecVersion,
        ffmpeg: ffmpegVersion,
      },
      repeats,
      results,
    },
    null,
    1,
  ),
)
if (!options.json) {
  console.error(
    'file                            rnb frames/s  ffmpeg frames/s  ratio  ratio by processor time',
  )
  for (const r of results) {
    const [rnb, ffmpeg] = [r.rnbFramesPerS.toFixed(0), r.ffmpegFramesPerS.toFixed(0)]
    console.error(
      `${r.file.padEnd(30)} ${rnb.padStart(13)} ${ffmpeg.padStart(16)} ${r.ratio.toFixed(3).padStart(6)} ${r.cpuRatio.toFixed(3).padStart(24)}`,
    )
  }
}
