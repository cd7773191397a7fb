import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Starting a DOM costs more than the tests: the files that need one say so in their first line.
    environmentOptions: { jsdom: { url: "https://shop.example/" } },
    include: ["src/**/*.test.{ts,tsx}"],
    restoreMocks: true,
  },
});
