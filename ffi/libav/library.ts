import { LibraryError } from '../error.ts'
import { type LibrarySearch, libraryCandidates, openLibrary } from '../library.ts'
import { AV_LOG_QUIET } from './constants.ts'
import offsets from './offsets.json'
import { preload } from './preload.ts'
import { AVCODEC, AVFORMAT, AVUTIL } from './symbols.ts'

/** Library versions of one FFmpeg release (4.x to 8.x), and where the fields of its structs lie. */
type Release = (typeof offsets)[keyof typeof offsets]

const OVERRIDE = 'RNB_LIBAV_DIR'
const HINT =
  'Install FFmpeg 4 to 8: `apt install ffmpeg` on Debian or Ubuntu (or its libraries alone, such as ' +
  'libavcodec59 and libavformat59), or name a folder that holds libavutil, libavcodec and libavformat in ' +
  `${OVERRIDE}.`

/** Newest first. */
const RELEASES: readonly Release[] = Object.values(offsets).sort((a, b) => b.libavcodec - a.libavcodec)

/** `libavcodec.so.62`, `libavcodec.so.62.11.100`, and a wheel's `libavcodec-c4204469.so.62.11.100`. */
function search(name: 'libavutil' | 'libavcodec' | 'libavformat', release: Release): LibrarySearch {
  return {
    name,
    override: OVERRIDE,
    sonames: [`${name}.so.${release[name]}`],
    pattern: new RegExp(`^${name}(-[0-9a-f]+)?\\.so\\.${release[name]}(\\.|$)`),
    hint: HINT,
  }
}

function openRelease(release: Release) {
  const searches = (['libavutil', 'libavcodec', 'libavformat'] as const).map(name => search(name, release))
  if (process.env[OVERRIDE]) {
    for (const s of searches) {
      const file = libraryCandidates(s)[0]
      const refusal = file === undefined ? undefined : preload(file)
      if (file !== undefined && refusal !== undefined) throw new LibraryError(s.name, [file], HINT, refusal)
    }
  }
  const avutil = openLibrary(searches[0]!, AVUTIL)
  const avcodec = openLibrary(searches[1]!, AVCODEC)
  const avformat = openLibrary(searches[2]!, AVFORMAT)
  const seen = [
    avutil.symbols.avutil_version(),
    avcodec.symbols.avcodec_version(),
    avformat.symbols.avformat_version(),
  ]
  const majors = seen.map(version => version >>> 16)
  if (
    majors[0] !== release.libavutil ||
    majors[1] !== release.libavcodec ||
    majors[2] !== release.libavformat
  )
    throw new LibraryError(
      'libav',
      [avutil.path, avcodec.path, avformat.path],
      HINT,
      `of versions ${majors.join(', ')}`,
    )
  // It logs to stderr by default, for the whole process: what is wrong reaches us as status codes.
  avutil.symbols.av_log_set_level(AV_LOG_QUIET)
  return {
    avutil: avutil.symbols,
    avcodec: avcodec.symbols,
    avformat: avformat.symbols,
    offsets: release,
    /** FFmpeg's release as it names itself: `5.1.9-0+deb12u1`. */
    version: `${avutil.symbols.av_version_info()}`,
    /** libavcodec's version: `59.37.100`. */
    codecVersion: [seen[1]! >>> 16, (seen[1]! >>> 8) & 255, seen[1]! & 255].join('.'),
    paths: [avutil.path, avcodec.path, avformat.path],
  }
}

export type Libav = ReturnType<typeof openRelease>

let opened: Libav | undefined

/**
 * libavutil, libavcodec and libavformat of one FFmpeg release, the newest that loads; opened once a thread, and
 * silent from then on.
 * @throws {LibraryError} saying what to install, if there is none.
 */
export function libav(): Libav {
  if (opened) return opened
  const failures: LibraryError[] = []
  for (const release of RELEASES) {
    try {
      opened = openRelease(release)
      return opened
    } catch (error) {
      if (!(error instanceof LibraryError)) throw error
      failures.push(error)
    }
  }
  const telling = failures.find(error => !error.message.startsWith(`${error.library}: not found`))
  throw telling ?? new LibraryError('libavcodec', [...new Set(failures.flatMap(error => error.tried))], HINT)
}

/** What `doctor` says of libav: the release and its files, or what to install. */
export function libavStatus():
  | { ok: true; version: string; codecVersion: string; paths: string[] }
  | { ok: false; problem: string } {
  try {
    const { version, codecVersion, paths } = libav()
    return { ok: true, version, codecVersion, paths }
  } catch (error) {
    if (error instanceof LibraryError) return { ok: false, problem: error.message }
    throw error
  }
}
