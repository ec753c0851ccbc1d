import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BufferTarget, EncodedPacket, EncodedVideoPacketSource, Output, WebMOutputFormat } from 'mediabunny'
import { type Outcome, scratch } from '../e2e/rnb.ts'
import {
  buildFakeNvdec,
  COUNTS,
  canBuildFakeNvdec,
  type FakeCounts,
  type FakeFormat,
  keyData,
  namedCounts,
  pictureData,
  SMALL,
} from '../video/nvdec-fake.ts'
import { GPUS, onRealGpus, runOnGpus } from './pipelines.ts'

/** Pipelines on a stand-in for a GPU whose engines decode made-up streams: whether there is one here. */
export const canDecode = GPUS > 0 && !onRealGpus && canBuildFakeNvdec()
if (GPUS > 0 && !onRealGpus && !canDecode)
  console.warn('skipped: decoding in pipelines, by a stand-in: libffmpeg-nvenc-dev is missing')

let fake: ReturnType<typeof buildFakeNvdec> | undefined
/** Every file of tests calls it at its end. */
export function releaseEngines(): void {
  fake?.remove()
  fake = undefined
}

const MARK_ENTRY = 0xfe
const MARK_OTHER = 0xff

/** A video of pictures that nvdec-fake.c decodes, in WebM, as if it were VP8. @param wrong of picture i */
export async function madeUpVideo(
  frames: number,
  format: Partial<FakeFormat> = {},
  wrong: (picture: number) => number = () => 0,
): Promise<Uint8Array> {
  const { width, height } = { ...SMALL, ...format }
  const target = new BufferTarget()
  const output = new Output({ format: new WebMOutputFormat(), target })
  const source = new EncodedVideoPacketSource('vp8')
  output.addVideoTrack(source)
  await output.start()
  const decoderConfig = { codec: 'vp8', codedWidth: width - 4, codedHeight: height - 2 }
  for (let i = 0; i < frames; i++) {
    const data = i === 0 ? [MARK_ENTRY, ...keyData(format, wrong(i))] : [MARK_OTHER, ...pictureData(wrong(i))]
    const packet = new EncodedPacket(Uint8Array.from(data), i === 0 ? 'key' : 'delta', i / 25, 1 / 25)
    await source.add(packet, { decoderConfig })
  }
  await output.finalize()
  return new Uint8Array(target.buffer!)
}

/** A folder of videos, one a name. */
export function folderOf(videos: Readonly<Record<string, Uint8Array>>): string {
  const folder = join(scratch(), 'videos')
  mkdirSync(folder, { recursive: true })
  for (const [name, data] of Object.entries(videos)) writeFileSync(join(folder, name), data)
  return folder
}

/** A run that decodes with the engines, and what these count. */
export async function runWithEngines(
  config: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ outcome: Outcome; counts: FakeCounts }> {
  fake ??= buildFakeNvdec()
  const report = join(scratch(), 'counts')
  const engines = { RNB_NVCUVID: fake.library, FAKE_NVDEC_COUNTS: report }
  const outcome = await runOnGpus(config, args, { ...engines, ...env })
  const words = new Int32Array(new Uint8Array(readFileSync(report)).buffer, 0, COUNTS.length)
  return { outcome, counts: namedCounts(words) }
}
