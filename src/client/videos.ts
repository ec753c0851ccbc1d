import { type Dirent, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { UsageError } from '../errors.ts'
import { Rng } from '../rng.ts'

/** Names of video path iterators in a pipeline file. There is one: it sees from the path what it is given. */
export const iteratorNames = [
  ['videos', 'models.r2p1d.model.R2P1DVideoPathIterator', 'R2P1DVideoPathIterator'],
] as const

export interface VideoFile {
  /** Absolute. */
  path: string
  /** The folder's name, where folders sort the videos into classes. */
  class?: string
}

/** Files in a folder that are taken for videos. What a list or a glob names is always taken. */
const EXTENSIONS = new Set(
  '.mp4 .m4v .mov .mkv .webm .avi .ts .m2ts .mts .mpg .mpeg .m2v .ogv .ogg .3gp .flv .wmv .asf .mxf .y4m .h264 .hevc .ivf'.split(
    ' ',
  ),
)

const GLOB = /[*?[\]{}]/

const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

function kindOf(path: string): 'folder' | 'file' | 'missing' {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat) return 'missing'
  return stat.isDirectory() ? 'folder' : 'file'
}

/** Like a Dirent's own kind, but a link counts as what it leads to. */
function entryKind(folder: string, entry: Dirent): 'folder' | 'file' | 'other' {
  if (entry.isDirectory()) return 'folder'
  if (entry.isFile()) return 'file'
  if (!entry.isSymbolicLink()) return 'other'
  const stat = statSync(join(folder, entry.name), { throwIfNoEntry: false })
  return stat?.isDirectory() ? 'folder' : stat?.isFile() ? 'file' : 'other'
}

/** Names of a folder's subfolders and videos, hidden ones left out. */
function look(folder: string): { folders: string[]; videos: string[] } {
  const folders: string[] = []
  const videos: string[] = []
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.startsWith('.')) continue
    const kind = entryKind(folder, entry)
    if (kind === 'folder') folders.push(entry.name)
    else if (kind === 'file' && EXTENSIONS.has(extname(entry.name).toLowerCase())) videos.push(entry.name)
  }
  return { folders: folders.sort(byCodeUnits), videos: videos.sort(byCodeUnits) }
}

/** A folder's own videos, then those of its subfolders, which name classes (RnB: root/class/video). */
function inFolder(root: string): VideoFile[] {
  const { folders, videos } = look(root)
  return [
    ...videos.map(name => ({ path: join(root, name) })),
    ...folders.flatMap(folder =>
      look(join(root, folder)).videos.map(name => ({ path: join(root, folder, name), class: folder })),
    ),
  ]
}

/** Where videos of a list or glob lie in several folders, the folders are their classes. */
function classify(paths: readonly string[]): VideoFile[] {
  const sorted = new Set(paths.map(path => dirname(path))).size > 1
  return paths.map(path => (sorted ? { path, class: basename(dirname(path)) } : { path }))
}

/** One path a line, relative to the list; empty lines and lines that start with # are left out. */
function inList(list: string): VideoFile[] {
  const lines = readFileSync(list, 'utf8')
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map(line => line.trim())
  return classify(
    lines.filter(line => line !== '' && !line.startsWith('#')).map(line => resolve(dirname(list), line)),
  )
}

function inGlob(pattern: string): VideoFile[] {
  const parts = pattern.split('/')
  // A folder may have such a character in its name: the pattern starts where nothing has that name.
  const first = parts.findIndex(
    (part, i) => GLOB.test(part) && kindOf(parts.slice(0, i + 1).join('/')) === 'missing',
  )
  const base = parts.slice(0, first).join('/') || '/'
  if (kindOf(base) !== 'folder') return []
  const glob = new Bun.Glob(parts.slice(first).join('/'))
  // A name may lead to its file through a link; folders that match are no videos.
  const names = [...glob.scanSync({ cwd: base, onlyFiles: false })]
  const paths = names.map(name => join(base, name)).filter(path => kindOf(path) === 'file')
  return classify(paths.sort(byCodeUnits))
}

const none = (what: string): UsageError => new UsageError(`no videos: ${what}`)

/**
 * Finds the videos that requests may name: those of a folder and of its subfolders (whose names are the
 * classes), of a glob, of LIST.txt, or one file. The order depends on the names alone (in a list, on the list).
 * A list may name files that do not exist; their requests will fail.
 * @throws {UsageError} if there is none, saying where it looked
 */
export function findVideos(root: string): VideoFile[] {
  const path = resolve(root)
  try {
    const kind = kindOf(path)
    if (kind === 'missing') {
      if (!GLOB.test(root)) throw none(`${path} does not exist`)
      return filled(inGlob(path), `nothing matches ${path}`)
    }
    if (kind === 'folder')
      return filled(
        inFolder(path),
        `${path} and its subfolders hold no file that looks like one (*.mp4, *.mkv, ...)`,
      )
    if (extname(path).toLowerCase() === '.txt') return filled(inList(path), `${path} lists none`)
    return [{ path }]
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw none(`${path} cannot be read (${(error as Error).message})`)
  }
}

function filled(videos: VideoFile[], otherwise: string): VideoFile[] {
  if (videos.length === 0) throw none(otherwise)
  return videos
}

/**
 * Which video each request names: all of them in an order that the seed fixes, again and again.
 * @returns an index into `paths` for each of `count` requests
 */
export function drawVideos(count: number, paths: { readonly length: number }, seed: number): Uint32Array {
  const order = Rng.of(seed, 'videos').permutation(paths.length)
  return Uint32Array.from({ length: count }, (_, request) => order[request % order.length]!)
}
