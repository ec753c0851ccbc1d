import type { Argv } from 'yargs'
import { checkConfigFile, configSchema, describePlan } from './config.ts'

/** `rnb config check FILE` and `rnb config schema`. */
export function configCommands(parser: Argv): Argv {
  return parser
    .command(
      'check <file>',
      'check a pipeline file; its plan as JSON on standard output',
      p => p.positional('file', { type: 'string', demandOption: true, describe: 'pipeline file' }),
      ({ file }) => {
        const plan = checkConfigFile(file)
        for (const line of describePlan(plan)) console.error(line)
        console.log(JSON.stringify({ type: 'plan', ...plan }))
      },
    )
    .command('schema', 'print the JSON Schema of pipeline files', {}, () => {
      process.stdout.write(configSchema())
    })
    .demandCommand(1, 'config: name one of check, schema')
}
