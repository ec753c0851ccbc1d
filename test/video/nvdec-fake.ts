import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What nvdec-fake.c counts, in its order. */
export const COUNTS = [
  'decodersMade',
  'decodersDestroyed',
  'parsersMade',
  'parsersDestroyed',
  'reconfigured',
  'mapped',
  'unmapped',
  'mostMapped',
  'misuse',
  'decoded',
  'parsed',
] as const
export type FakeCounts = Record<(typeof COUNTS)[number], number>

export const namedCounts = (words: Int32Array): FakeCounts =>
  Object.fromEntries(COUNTS.map((name, i) => [name, words[i]!])) as FakeCounts

/** Pictures of nvdec-fake.c's streams, as they come out of its display area. */
export interface FakeFormat {
  /** Of the coded picture; the right 4 columns and the last 2 rows are not shown. */
  width: number
  height: number
  depth: number
  surfaces: number
  chroma: number
}
export const SMALL: FakeFormat = { width: 352, height: 256, depth: 8, surfaces: 4, chroma: 1 }

/** The data of a picture with a sequence header. @param wrong what goes wrong with it */
export const keyData = (format: Partial<FakeFormat> = {}, wrong = 0): Uint8Array => {
  const { width, height, depth, surfaces, chroma } = { ...SMALL, ...format }
  return Uint8Array.of(0x4b, wrong, width / 16, height / 16, depth, surfaces, chroma)
}

/** The data of a picture without. */
export const pictureData = (wrong = 0): Uint8Array => Uint8Array.of(0x50, wrong)

const HEADERS = '#include <ffnvcodec/dynlink_cuda.h>\n#include <ffnvcodec/dynlink_nvcuvid.h>\n'

/** Whether `buildFakeNvdec` has what it needs. */
export const canBuildFakeNvdec = (): boolean =>
  Bun.which('gcc') !== null &&
  Bun.spawnSync(['gcc', '-E', '-x', 'c', '-'], { stdin: Buffer.from(HEADERS) }).exitCode === 0

/** nvdec-fake.c, compiled. */
export function buildFakeNvdec(): { library: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-nvdec-'))
  const library = join(folder, 'libnvcuvid.so.1')
  const source = join(import.meta.dir, 'nvdec-fake.c')
  const { stderr, exitCode } = Bun.spawnSync(['gcc', '-w', '-shared', '-fPIC', source, '-o', library])
  if (exitCode !== 0) throw new Error(stderr.toString())
  return { library, remove: () => rmSync(folder, { recursive: true }) }
}
