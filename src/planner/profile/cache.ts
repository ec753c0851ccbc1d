import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import * as v from 'valibot'
import { UsageError } from '../../errors.ts'
import { hashOf } from '../../pipeline/hash.ts'
import { writeFileAtomic } from '../../results/atomic-file.ts'
import { type Profile, profileSchema } from './schema.ts'

const FILE = 'profile.json'

/** The user's folder for what can be made again (XDG Base Directory Specification). */
export function cacheRoot(environment: Record<string, string | undefined> = process.env): string {
  const { XDG_CACHE_HOME: given } = environment
  // A relative path there has no meaning, the specification says.
  const root = given?.startsWith('/') ? given : join(homedir(), '.cache')
  return join(root, 'rnb', 'profiles')
}

/** SHA-256 of a file's content, in hexadecimal. @throws {UsageError} if it can't be read */
export function contentHash(path: string): string {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex')
  } catch (error) {
    throw new UsageError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** Of videos: their paths, sizes and times of change, as contents would take long to read. */
export function videosHash(paths: readonly string[]): string {
  const facts = paths.map(path => {
    const stat = statSync(path, { throwIfNoEntry: false })
    return [path, stat?.size ?? null, stat?.mtimeMs ?? null]
  })
  return hashOf(facts)
}

/** A profile's folder: what has been measured so far, and the profile itself once it is complete. */
export class ProfileFolder {
  /** @param key all that the figures depend on */
  constructor(
    readonly path: string,
    readonly key: unknown,
  ) {}

  static within(root: string, key: unknown): ProfileFolder {
    return new ProfileFolder(join(root, hashOf(key)), key)
  }

  /** The profile that was made here; undefined if there is none that this program can read. */
  read(): Profile | undefined {
    const path = join(this.path, FILE)
    if (!existsSync(path)) return undefined
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), profileSchema), readFileSync(path, 'utf8'))
    return parsed.success ? parsed.output : undefined
  }

  /** @throws {UsageError} if it can't be written */
  write(profile: Profile): string {
    const path = resolve(this.path, FILE)
    try {
      mkdirSync(this.path, { recursive: true })
      writeFileAtomic(join(this.path, 'key.json'), `${JSON.stringify(this.key, null, 2)}\n`)
      writeFileAtomic(path, `${JSON.stringify(profile)}\n`)
    } catch (error) {
      throw new UsageError(`${path}: cannot be written: ${(error as Error).message}`)
    }
    return path
  }
}

/** Reads a profile that somebody names. @throws {UsageError} if it is none */
export function readProfile(path: string): Profile {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new UsageError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), profileSchema), text)
  if (parsed.success) return parsed.output
  const [issue] = parsed.issues
  throw new UsageError(`${path}: no profile: ${v.getDotPath(issue) ?? 'the file'}: ${issue.message}`)
}
