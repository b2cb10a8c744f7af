// Writes the invented suite as a promptfoo config into the current folder.
const fs = require('fs');
const suite = require('./suite.json');

fs.copyFileSync(`${__dirname}/suite.json`, 'suite.json');
fs.copyFileSync(`${__dirname}/promptfoo_provider.cjs`, 'promptfoo_provider.cjs');
fs.writeFileSync(
  'promptfooconfig.json',
  JSON.stringify({
    description: 'invented suite',
    prompts: ['{{question}}'],
    providers: Object.keys(suite.versions).map((version) => ({
      id: 'file://promptfoo_provider.cjs',
      label: version,
      config: { version },
    })),
    tests: suite.questions.map(({ id, question, answer, difficulty, capability }) => ({
      vars: { question },
      assert: [{ type: 'equals', value: answer }],
      metadata: { id, difficulty, capability },
    })),
  }),
);
