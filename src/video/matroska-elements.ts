import type { FileReader } from './file-reader.ts'

const EBML = 0x1a45dfa3
const SEGMENT = 0x18538067
const CLUSTER = 0x1f43b675
const VOID = 0xec
/** SeekHead, Info, Tracks, Cluster, Cues, Attachments, Chapters, Tags: what a segment consists of. */
const SEGMENT_PARTS = new Set([
  0x114d9b74,
  0x1549a966,
  0x1654ae6b,
  CLUSTER,
  0x1c53bb6b,
  0x1941a469,
  0x1043a770,
  0x1254c367,
])
/** An element's id takes up to 4 bytes, its size up to 8. */
const HEADER_BYTES = 12

interface Element {
  id: number
  /** Of its content. */
  start: number
  /** Undefined for one of unknown size. */
  end: number | undefined
}

/** The element whose header begins at `at`, if there is a valid one (RFC 8794). */
function elementAt(file: FileReader, at: number): Element | undefined {
  const header = file.read(at, Math.min(at + HEADER_BYTES, file.size))
  const idBytes = Math.clz32(header[0] ?? 0) - 23
  const sizeBytes = Math.clz32(header[idBytes] ?? 0) - 23
  if (idBytes > 4 || sizeBytes > 8 || header.length < idBytes + sizeBytes) return undefined
  let id = 0
  for (let i = 0; i < idBytes; i++) id = id * 256 + header[i]!
  let size = header[idBytes]! & (0xff >> sizeBytes)
  let unknown = size === 0xff >> sizeBytes
  for (let i = 1; i < sizeBytes; i++) {
    const byte = header[idBytes + i]!
    size = size * 256 + byte
    unknown &&= byte === 0xff
  }
  const start = at + idBytes + sizeBytes
  return { id, start, end: unknown ? undefined : start + size }
}

/** Where a cluster of blocks ends, if it consists of whole elements up to there. */
function clusterEnd(file: FileReader, cluster: Element): number | undefined {
  const end = cluster.end ?? file.size
  for (let at = cluster.start; at < end; ) {
    const child = elementAt(file, at)
    if (child === undefined) return undefined
    if (child.id === EBML || child.id === SEGMENT || SEGMENT_PARTS.has(child.id)) {
      return cluster.end === undefined ? at : undefined
    }
    if (child.end === undefined || child.end > end) return undefined
    at = child.end
  }
  return end
}

/**
 * Whether a Matroska file's elements follow each other without a fault down to the blocks. mediabunny looks for the next
 * good element after a fault, and there are faults that it then looks for forever.
 *
 * @returns undefined if the file isn't Matroska.
 */
export function isSoundMatroska(file: FileReader): boolean | undefined {
  const head = elementAt(file, 0)
  if (head?.id !== EBML) return undefined
  const segment = head.end === undefined || head.end >= file.size ? undefined : elementAt(file, head.end)
  if (segment?.id !== SEGMENT) return false
  const end = segment.end ?? file.size
  if (end !== file.size) return false
  for (let at = segment.start; at < end; ) {
    const part = elementAt(file, at)
    if (part === undefined || (part.id !== VOID && !SEGMENT_PARTS.has(part.id))) return false
    const partEnd = part.id === CLUSTER ? clusterEnd(file, part) : part.end
    if (partEnd === undefined || partEnd > end) return false
    at = partEnd
  }
  return true
}
