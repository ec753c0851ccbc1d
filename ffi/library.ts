import { dlopen, type FFIFunction, type Library } from 'bun:ffi'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { LibraryError } from './error.ts'

/** Where a native library may be, most specific place first. */
export interface LibrarySearch {
  /** As people call it: `libavcodec`. */
  readonly name: string
  /** Environment variable that names a folder (or the file itself) to use before any other. */
  readonly override?: string
  /** File names for the dynamic linker, newest version first: `libcuda.so.1`. */
  readonly sonames: readonly string[]
  /** Matches file names in the override folder and in `folders`, where names carry hashes or versions. */
  readonly pattern?: RegExp
  /** Further folders to look through after the linker's own. */
  readonly folders?: readonly string[]
  /** What to do when it is missing, as one sentence. */
  readonly hint: string
}

/** Full paths in `folder` of files that the search would take, by soname first and then by pattern. */
function inFolder(folder: string, search: LibrarySearch): string[] {
  if (!existsSync(folder)) return []
  const names = readdirSync(folder)
  const known = search.sonames.filter(soname => names.includes(soname))
  const matching = search.pattern
    ? names
        .filter(n => search.pattern?.test(n) && !known.includes(n))
        .sort()
        .reverse()
    : []
  return [...known, ...matching].map(n => join(folder, n))
}

/** Candidates in the order in which they are tried: the override alone if it is set, else the linker, then folders. */
export function libraryCandidates(search: LibrarySearch): string[] {
  const override = search.override ? process.env[search.override] : undefined
  if (override) return /\.so(\.|$)/.test(override) ? [override] : inFolder(override, search)
  return [...search.sonames, ...(search.folders ?? []).flatMap(folder => inFolder(folder, search))]
}

/**
 * Opens the first candidate that loads with all of `symbols`.
 * @throws {LibraryError} naming every place tried and the loader's last words.
 */
export function openLibrary<T extends Record<string, FFIFunction>>(
  search: LibrarySearch,
  symbols: T,
): Library<T> & { path: string } {
  const tried = libraryCandidates(search)
  let reason = 'not found'
  for (const path of tried) {
    try {
      return Object.assign(dlopen(path, symbols), { path })
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      if (!/cannot open shared object file: No such file/.test(text)) reason = text
    }
  }
  const places = tried.length > 0 ? tried : [`${search.override}=${process.env[search.override ?? '']}`]
  throw new LibraryError(search.name, places, search.hint, reason)
}
