'use strict';
// Renews the images of docs/ui.md: `cargo xtask test` prints the variables that this script needs.
// node screenshots.js FOLDER

const path = require('node:path');
const { Store, launch, freeRow, heldRow, skipped } = require('./fixture');

/** Locks as an operator could find them: names, and the rest of their rows. */
function rows() {
  const minutes = (count) => count * 60_000;
  // The renewals of the holders are at different places of their intervals.
  let order = 0;
  const held = (name, token, lease, owner, since) => [name, heldRow(token, lease, owner, since, (order++ * 1_700) % 6_000)];
  const free = (name, token) => [name, freeRow(token)];
  const shard = (index) => `orders/shard-${String(index).padStart(2, '0')}`;
  return [
    held('billing/invoices', 8_112, 20_000, 'billing-7f9c (ip-10-0-3-17, pid 812, 5c1f09aa)', minutes(4)),
    held('billing/rates', 391, 20_000, 'billing-7f9c (ip-10-0-3-17, pid 812, 90b2c1d4)', minutes(187)),
    held('deploy/production', 512, 3_600_000, 'ada via github-actions run 88121 (runner-4, pid 77, 1be2a0f3)', minutes(6)),
    free('deploy/staging', 2_377),
    ...Array.from({ length: 12 }, (_, index) =>
      index % 4 === 3
        ? free(shard(index), 40 + index * 13)
        : held(shard(index), 40 + index * 13, 20_000, `worker-${index % 5} (ip-10-0-1-${20 + (index % 5)}, pid ${300 + index}, 00c0ffee)`, minutes(3 + index * 7))),
    free('reports/monthly', 14),
    free('search/reindex', 96),
    ['legacy/cleanup', { guid: { S: 'x' }, expiresOn: { N: String(Date.now() - minutes(95)) } }],
    ['terraform/state-copy', { colour: { S: 'blue' } }],
    ...Array.from({ length: 60 }, (_, index) => free(`tenants/${String(index + 1).padStart(4, '0')}/sync`, 10 + ((index * 37) % 90))),
  ];
}

async function main(folder) {
  if (skipped()) throw new Error(skipped());
  const store = new Store();
  let browser;
  try {
    store.run('once', '--owner', 'migrate-42', 'migrations/2026-11-add-index', '--', 'true');
    store.run('hold', 'maintenance', '10m', '--owner', 'grace');
    await Promise.all(['etl-a', 'etl-b'].map((owner) => store.hold('--slots', '4', '--owner', owner, 'warehouse/load')));
    await Promise.all(['api-1', 'api-2'].map((owner) => store.hold('--shared', '--owner', owner, 'schema')));
    store.run('run', '--owner', 'cron', 'reports/nightly', '--', 'true');
    const { line } = await store.start('ui', '--interval', '5s', '--allow-revoke');
    browser = await launch();
    for (const [name, scheme, width, height] of [
      ['light', 'light', 1180, 760],
      ['dark', 'dark', 1180, 880],
      ['narrow', 'light', 360, 740],
    ]) {
      store.insert(rows());
      const page = await browser.context.newPage();
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height });
      await page.goto(line);
      await page.waitForSelector('#rows tr');
      await page.click('#refresh');
      if (name === 'dark') {
        await page.click('[data-state=held]');
        await page.click('text=warehouse/load');
        await page.locator('.holder button').first().click();
        await page.fill('#typed', 'warehouse/lo');
      }
      await page.waitForTimeout(1_500);
      // The address in the page is that of a table, as in production.
      await page.evaluate(() => (document.getElementById('store').firstChild.data = 'dynamodb://Lock?region=eu-central-1'));
      await page.screenshot({ path: path.join(folder, `${name}.png`) });
      await page.close();
    }
  } finally {
    await browser?.close();
    await store.close();
  }
}

main(process.argv[2] ?? '.').catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
