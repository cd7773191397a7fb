import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  build: {
    // A data: URL would need an exception in the Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // One script and one style sheet: a tab that stays open across a deploy has nothing left to load under an old name.
    cssCodeSplit: false,
    chunkSizeWarningLimit: 400,
    target: ["chrome111", "edge111", "firefox114", "safari16.4"],
  },
});
