import { dlopen, FFIType } from 'bun:ffi'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The stand-in of fake-gpu.c, compiled. */
export interface FakeGpu {
  /** For processes that are to find it in place of the driver's libraries and cuDNN. */
  readonly env: Readonly<Record<string, string>>
  remove(): void
}

/** Compiles the stand-in; undefined, with a word about it, where there is no gcc. @param what - the tests that want it */
export function buildFakeGpu(what: string): FakeGpu | undefined {
  if (Bun.which('gcc') === null) {
    console.warn(`skipped: ${what}: no gcc to make a stand-in for a GPU`)
    return undefined
  }
  const folder = mkdtempSync(join(tmpdir(), 'rnb-fake-gpu-'))
  const library = join(folder, 'libfakegpu.so.1')
  const flags = [
    '-w',
    '-O3',
    '-march=native',
    '-fassociative-math',
    '-fno-signed-zeros',
    '-fno-trapping-math',
  ]
  const source = join(import.meta.dir, 'fake-gpu.c')
  const { exitCode, stderr } = Bun.spawnSync(['gcc', ...flags, '-shared', '-fPIC', source, '-o', library])
  if (exitCode !== 0) throw new Error(stderr.toString())
  return {
    env: {
      RNB_CUDA_DRIVER: library,
      RNB_CUDNN_DIR: library,
      RNB_NVML: library,
      RNB_NVCUVID: library,
      RNB_CUPTI: library,
    },
    remove: () => rmSync(folder, { recursive: true }),
  }
}

/** What the stand-in is asked in a process that runs with it. */
const asked = () =>
  dlopen(process.env.RNB_CUDA_DRIVER!, {
    fakeGpuAlive: { args: [], returns: FFIType.i64_fast },
    fakeGpuFault: { args: [FFIType.ptr], returns: FFIType.void },
  }).symbols

/** In a process that runs with the stand-in: things that were made of it and not given back. */
export const fakeGpuAlive = (): number => Number(asked().fakeGpuAlive())

/** In such a process, has a call go wrong from now on: as FAKE_FAULT says, or none where it is empty. */
export const fakeGpuFault = (fault: string): void => asked().fakeGpuFault(Buffer.from(`${fault}\0`))
