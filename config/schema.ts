// Writes rnb.schema.json, the JSON Schema of pipeline files, beside itself: `bun config/schema.ts`.
import { fileURLToPath } from 'node:url'
import { toJsonSchema } from '@valibot/to-json-schema'
import { builtin } from '../src/pipeline/builtin.ts'
import { fileSchema } from '../src/pipeline/schema.ts'

const FILE = fileURLToPath(new URL('rnb.schema.json', import.meta.url))

/** The schema's text, from the description that checks pipeline files. */
export function schemaText(): string {
  // Checks across keys have no place in a JSON Schema; `rnb config check` makes them.
  const schema = toJsonSchema(fileSchema({ ...builtin, open: true }), {
    typeMode: 'input',
    errorMode: 'ignore',
  })
  const head = { $schema: schema.$schema, title: 'Pipeline of rnb' }
  return `${JSON.stringify({ ...head, ...schema }, null, 2)}\n`
}

if (import.meta.main) {
  await Bun.write(FILE, schemaText())
  Bun.spawnSync([
    fileURLToPath(new URL('../node_modules/.bin/biome', import.meta.url)),
    'format',
    '--write',
    FILE,
  ])
}
