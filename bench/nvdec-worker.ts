/** One decoding thread of bench/nvdec.ts. */
import { parentPort, workerData } from 'node:worker_threads'
import { retainContext } from '../ffi/cuda/context.ts'
import { allocate } from '../ffi/cuda/memory.ts'
import { createStream } from '../ffi/cuda/stream.ts'
import { monotonicNs } from '../ffi/libc.ts'
import { clipFrameBytes } from '../kernels/clip.ts'
import { ClipKernel } from '../src/compute/cuda/clip.ts'
import { clipParameters } from '../src/video/nvdec/clip-parameters.ts'
import { NvdecDecoder } from '../src/video/nvdec/decoder.ts'
import { DecoderPool, type DecoderPoolHandle } from '../src/video/nvdec/pool.ts'
import type { SurfaceFrame } from '../src/video/nvdec/surface.ts'
import { openVideo } from '../src/video/open.ts'
import { defaultPreprocessing } from '../src/video/preprocess.ts'
import type { Packet, Video } from '../src/video/types.ts'
import { FRAMES, GO, STOP, WARM } from './nvdec-board.ts'

/** `decode`: packets in memory, every frame mapped. `clips`: and made part of a clip. `demux`: packets read, too. */
export type Mode = 'decode' | 'clips' | 'demux'

export interface Settings {
  pool: DecoderPoolHandle
  group: number
  displayDelay: number
}

export interface Job {
  path: string
  mode: Mode
  /** How often each thread decodes the file; without it, until it is told to stop. */
  repeats?: number
  /** See nvdec-board.ts. */
  board: SharedArrayBuffer
}

/** From the first frame asked for to the last one there. */
export interface Answer {
  startNs: number
  endNs: number
}

const { pool, group, displayDelay } = workerData as Settings
retainContext(0)
const stream = createStream()
const decoder = new NvdecDecoder({ pool: new DecoderPool(pool), stream, group, displayDelay })
const kernel = new ClipKernel()
const layout = { kind: 'f16', channels: 4 } as const
const preprocessing = defaultPreprocessing('torchvision')
const frameBytes = clipFrameBytes(layout, preprocessing.size)
const out = allocate(group * frameBytes, { what: 'frames of a clip', lower: '--group' })

const WARM_NS = 3e8

let opened: { path: string; video: Video; packets: Packet[]; wanted: number[] } | undefined

async function open(path: string) {
  if (opened?.path === path) return opened
  opened?.video.close()
  const video = await openVideo(path)
  const wanted = Array.from({ length: video.frames }, (_, index) => index)
  const packets: Packet[] = []
  for await (const packet of video.packets(wanted)) packets.push({ ...packet, data: packet.data.slice() })
  opened = { path, video, packets, wanted }
  return opened
}

function makeClips(frames: readonly SurfaceFrame[]): void {
  const places = frames.map(({ luma, chroma }, i) => ({ luma, chroma, out: out + i * frameBytes }))
  kernel.launch(clipParameters(frames[0]!, 0, preprocessing, layout, frames.length), places, stream)
}

async function run({ path, mode, repeats, board }: Job): Promise<Answer> {
  const { video, packets, wanted } = await open(path)
  const words = new Int32Array(board)
  const onFrames = (group: readonly SurfaceFrame[]) => {
    Atomics.add(words, FRAMES, group.length)
    if (mode !== 'decode') makeClips(group)
  }
  const once = () =>
    decoder.decode(video.info, mode === 'demux' ? video.packets(wanted) : packets, wanted, onFrames)
  // Compiled by the engine, and the GPU's clocks up.
  const warm = monotonicNs() + WARM_NS
  do await once()
  while (monotonicNs() < warm)
  Atomics.add(words, WARM, 1)
  Atomics.wait(words, GO, 0)
  const startNs = monotonicNs()
  if (repeats === undefined) while (Atomics.load(words, STOP) === 0) await once()
  else for (let i = 0; i < repeats; i++) await once()
  return { startNs, endNs: monotonicNs() }
}

parentPort!.on('message', (job: Job) => {
  run(job).then(
    answer => parentPort!.postMessage(answer),
    error => parentPort!.postMessage({ error: error instanceof Error ? error.stack : String(error) }),
  )
})
