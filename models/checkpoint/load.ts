import { SourceFile } from './file.ts'
import { isSafetensors, readSafetensors } from './safetensors.ts'
import type { Tensor } from './tensor.ts'
import { readTorchLegacy, readTorchZip } from './torch.ts'

export type CheckpointFormat = 'safetensors' | 'torch zip' | 'torch before 1.6'

/** A file of weights: names, types and shapes are read; elements are when asked for, until it is closed. */
export interface Checkpoint {
  readonly path: string
  readonly format: CheckpointFormat
  /** By the names in the file. */
  readonly tensors: ReadonlyMap<string, Tensor>
  close(): void
}

const startsWith = (start: Uint8Array, ...bytes: number[]): boolean => bytes.every((b, i) => start[i] === b)

/** The format, by content: people name these files as they like. */
function formatOf(file: SourceFile): CheckpointFormat {
  if (file.size === 0) throw file.error('empty')
  const start = file.read(0, Math.min(file.size, 512), 'the first bytes')
  if (startsWith(start, 0x50, 0x4b, 0x03, 0x04) || startsWith(start, 0x50, 0x4b, 0x05, 0x06))
    return 'torch zip'
  if (isSafetensors(start, file.size)) return 'safetensors'
  if (startsWith(start, 0x80)) return 'torch before 1.6'
  if (new TextDecoder('latin1').decode(start.subarray(257, 262)) === 'ustar') {
    throw file.error(
      'a tar file: unpack it, or if torch before 0.1.10 wrote it, load and save it with a newer one',
    )
  }
  throw file.error('neither safetensors nor a file of torch.save')
}

const READERS: Record<CheckpointFormat, (file: SourceFile) => Map<string, Tensor>> = {
  safetensors: readSafetensors,
  'torch zip': readTorchZip,
  'torch before 1.6': readTorchLegacy,
}

/**
 * Opens a checkpoint: safetensors, or a PyTorch file in the ZIP or the older format, in which nothing is executed.
 * @throws {UsageError} naming the file and what is wrong: missing, truncated, damaged, of another kind, or asking for
 *   anything else than tensors and plain containers
 */
export function loadCheckpoint(path: string): Checkpoint {
  const file = new SourceFile(path)
  try {
    const format = formatOf(file)
    return { path, format, tensors: READERS[format](file), close: () => file.close() }
  } catch (error) {
    file.close()
    throw error
  }
}
